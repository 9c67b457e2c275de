"""Progress bars on stderr, so that stdout holds data alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

Progress = Callable[[int, int], None]

_SECONDS_BETWEEN_LINES = 60.0


@contextmanager
def progress_bar(
    label: str, per_hour: str | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Progress]:
    """Show a bar on stderr that fills as the yielded function is called.

    Where stderr is no terminal, such as in a log file, a line is written at the start and then at
    most once a minute.

    Parameters
    ----------
    label : str
        What is being done.
    per_hour : str, optional
        Unit of the speed to show, such as "networks". The speed counts from the first call: what
        an earlier, interrupted run did says nothing about this one.
    clock : callable, default time.monotonic
        Returns seconds.

    Yields
    ------
    callable
        Takes how much is done and how much there is in all.
    """
    first: tuple[float, int] | None = None
    last_line = clock()

    def speed(item: Any) -> str | None:
        if per_hour is None or first is None or item is None:
            return None
        seconds, done = clock() - first[0], item - first[1]
        return f"{done / seconds * 3600:,.0f} {per_hour} an hour" if seconds * done > 0 else None

    with click.progressbar(
        length=1, label=label, file=sys.stderr, show_pos=True, item_show_func=speed
    ) as bar:

        def report(done: int, total: int) -> None:
            nonlocal first, last_line
            first = first or (clock(), done)
            bar.length = max(total, 1)
            bar.update(done - bar.pos, current_item=done)
            if not sys.stderr.isatty() and clock() - last_line >= _SECONDS_BETWEEN_LINES:
                last_line = clock()
                details = filter(None, [f"{label}: {done:,} of {total:,}", speed(done)])
                click.echo(", ".join(details), err=True)

        yield report
