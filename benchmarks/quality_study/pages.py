"""Pages whose tables a program writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

BEGIN, END = "<!-- tables, written by the command -->", "<!-- end of tables -->"


def fill_page(path: Path, tables: str) -> None:
    """Put tables between the marks of a page; a page without them is written anew."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    before, mark, rest = text.partition(BEGIN)
    after = rest.partition(END)[2] if mark else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{before}{BEGIN}\n\n{tables}\n{END}{after or chr(10)}", "utf-8")


def number(value: float | None, places: int = 3) -> str:
    """Write a score without the zero before its point."""
    if value is None or not np.isfinite(value):
        return "-"
    text = f"{value:.{places}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table in Markdown."""
    lines = ["| " + " | ".join(line) + " |" for line in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
