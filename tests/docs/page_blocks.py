"""The code blocks of README and the documentation, and what is said about running them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}

_BLOCK = re.compile(r"((?:^<!--[^\n]*-->\n+)*)^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes
    ----------
    page, language, code : str
    elsewhere : str
        The test file that runs it, or nothing.
    reason : str
        Why nothing runs it, or nothing.
    """

    page: str
    language: str
    code: str
    elsewhere: str
    reason: str


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page in their order."""
    found = []
    for marks, language, code in _BLOCK.findall(PAGES[page].read_text(encoding="utf-8")):
        elsewhere = re.search(r"<!-- run by (\S+?)[, ].*-->", marks)
        reason = re.search(r"<!-- not run: (.+) -->", marks)
        made = "program" if "<!-- made: program " in marks else ""
        found.append(
            Block(
                page,
                language,
                code,
                elsewhere[1] if elsewhere else made and "tests/examples/test_examples.py",
                reason[1] if reason else "",
            )
        )
    return found


def block_of(page: str, mark: str) -> str:
    """Return the code of the only block of a page that contains a text."""
    (block,) = (block for block in blocks_of(page) if mark in block.code)
    return block.code
