"""Links between pages lead to pages, files, pictures and headings that are there; no network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "zoo/README.md"]
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def prose_of(page: Path) -> str:
    return CODE.sub("", page.read_text(encoding="utf-8"))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings as both GitHub and MkDocs name them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}


LINKS = [
    pytest.param(page, link, id=f"{page.relative_to(ROOT)}: {link}")
    for page in PAGES
    for link in dict.fromkeys(re.findall(r"\]\(([^)\s]+)\)", prose_of(page)))
    if not re.match(r"https?:|mailto:", link)
]


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_a_link_leads_somewhere(page, link):
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    assert target.exists()
    if anchor:
        assert anchor in anchors_of(target)


def test_pages_of_the_site_link_to_nothing_outside_of_it():
    """MkDocs would leave such links dead."""
    for page in (ROOT / "docs").glob("*.md"):
        for link in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
            assert not link.startswith("../"), (page.name, link)


def test_there_are_links_and_no_page_is_an_island():
    assert len(LINKS) > 80
    linked = {
        (param.values[0].parent / param.values[1].partition("#")[0]).resolve() for param in LINKS
    }
    islands = {page.name for page in (ROOT / "docs").glob("*.md")} - {p.name for p in linked}
    assert islands == {"index.md"}
