"""Progress on stderr, so that stdout holds data alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

Progress = Callable[[int, int], None]


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """Show a bar on stderr that fills as the yielded function is called.

    Where stderr is no terminal the label is printed once and nothing else.

    Parameters
    ----------
    label : str
        What is being done.

    Yields
    ------
    callable
        Takes how much is done and how much there is in all.
    """
    with click.progressbar(length=1, label=label, file=sys.stderr, show_pos=True) as bar:

        def report(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield report
