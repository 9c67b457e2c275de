"""Write what programs make between the marks of a page: ``<!-- made: NAME -->...<!-- end -->``.

A mark that ends its line holds a block, any other one a number in the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

DOCS = Path(__file__).parent
_MARKED = re.compile(r"<!-- made: (.+?) -->(\n?).*?<!-- end -->", re.DOTALL)


def pages() -> list[Path]:
    """Return every page of the documentation, the README first."""
    return [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]


def names_in(text: str) -> list[str]:
    """Return the names of a page's marks."""
    return [mark[1] for mark in _MARKED.finditer(text)]


def filled(text: str, made: Mapping[str, str]) -> str:
    """Return a page with everything of `made` between its marks; other marks stay as they are."""

    def fill(mark: re.Match[str]) -> str:
        name, is_block = mark[1], bool(mark[2])
        if name not in made:
            return mark[0]
        gap = "\n\n" if is_block else ""
        return f"<!-- made: {name} -->{gap}{made[name].strip()}{gap}<!-- end -->"

    return _MARKED.sub(fill, text)


def fill_pages(made: Mapping[str, str]) -> None:
    """Fill every page in."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        new = filled(text, made)
        if new != text:
            page.write_text(new, encoding="utf-8")
            print(f"{page.relative_to(DOCS.parent)} is filled in")
