"""Numbers and tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
