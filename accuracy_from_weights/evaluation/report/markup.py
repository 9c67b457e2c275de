"""Pieces of a page: everything that is text is escaped here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from accuracy_from_weights.evaluation.report.svg import Picture
from accuracy_from_weights.evaluation.scores import Score


def paragraphs(*texts: str) -> str:
    """Give a ``<p>`` for each text."""
    return "\n".join(f"<p>{escape(text)}</p>" for text in texts)


def figures(pictures: Iterable[Picture]) -> str:
    """Give pictures side by side, or below each other where the page is narrow."""
    inside = "\n".join(
        f"<figure>{one.svg}<figcaption>{escape(one.caption)}</figcaption></figure>"
        for one in pictures
    )
    return f'<div class="pictures">\n{inside}\n</div>'


def tiles(facts: Iterable[tuple[str, str]]) -> str:
    """Give the few numbers that matter most, each with what it says."""
    inside = "\n".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts
    )
    return f'<dl class="tiles">\n{inside}\n</dl>'


def table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str | Score | None]],
    emphasised: str | None = None,
) -> str:
    """Give a table that can be scrolled sideways where the page is narrow.

    Parameters
    ----------
    caption : str
    header : sequence of str
    rows : iterable of sequences
        The first cell of each names the row. A `Score` is written with its interval.
    emphasised : str, optional
        Name of the row to set in bold.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "\n".join(
        f'<tr{_class(row[0], emphasised)}><th scope="row">{_cell(row[0])}</th>'
        + "".join(f"<td>{_cell(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{escape(caption)}">\n'
        f"<table><caption>{escape(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n</div>"
    )


def folded(summary: str, content: str) -> str:
    """Give content that is shown on request."""
    return f"<details><summary>{escape(summary)}</summary>\n{content}\n</details>"


def number(value: float, digits: int = 3) -> str:
    """Write a number, a dash where it is not defined."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"  # noqa: RUF001


def points(value: float) -> str:
    """Write a difference of accuracies in percentage points."""
    return number(100 * value, 1)


def _class(name: str | Score | None, emphasised: str | None) -> str:
    return ' class="ours"' if name == emphasised and emphasised is not None else ""


def _cell(value: str | Score | None) -> str:
    if isinstance(value, str):
        return escape(value)
    if value is None or not math.isfinite(value.value):
        return "–"  # noqa: RUF001
    shown = number(value.value)
    if math.isfinite(value.low):
        shown += f"<small>{number(value.low)} to {number(value.high)}</small>"
    return shown
