"""Tables, numbers and figures of the pages are those that were measured."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

import make_numbers
import page_marks

DOCS = page_marks.DOCS


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return make_numbers.everything()


@pytest.mark.parametrize("page", page_marks.pages(), ids=lambda page: page.name)
def test_no_page_is_stale(page, made):
    """Else run python docs/make_numbers.py."""
    text = page.read_text(encoding="utf-8")
    assert page_marks.filled(text, made) == text
    names = [
        n
        for n in page_marks.names_in(text)
        if not n.startswith(("program ", "output of ", "idea ", "zoo "))
    ]
    assert made.keys() >= set(names)
    assert text.count("<!-- made: ") == text.count("<!-- end -->")
    # MkDocs would end the paragraph before a line that begins with a comment.
    assert not re.search(r"^ *<!-- made: .+? -->.", text, flags=re.MULTILINE)


def test_every_figure_is_drawn_and_shown(tmp_path):
    make_numbers.draw_all(tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    shown = set()
    for page in page_marks.pages():
        shown |= set(re.findall(r"pictures/(\w+\.png)\)", page.read_text(encoding="utf-8")))
    assert len(drawn) >= 6
    assert drawn <= shown
    assert shown <= {path.name for path in (DOCS / "pictures").iterdir()}


def test_a_mark_in_a_sentence_takes_a_number_and_one_on_its_own_line_a_block():
    text = (
        "An error of <!-- made: a -->1<!-- end --> points.\n<!-- made: b -->\nold\n<!-- end -->\n"
    )
    assert page_marks.filled(text, {"a": "2.5", "b": "| x |\n|---|\n"}) == (
        "An error of <!-- made: a -->2.5<!-- end --> points.\n"
        "<!-- made: b -->\n\n| x |\n|---|\n\n<!-- end -->\n"
    )
    assert page_marks.filled(text, {}) == text
