"""The bar of ``zoo build``: networks done, networks an hour, time left."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_WIDTH = 24
_WINDOW = 200
_SECONDS_BETWEEN_LINES = 60.0
_SECONDS_BETWEEN_DRAWINGS = 0.2

Progress = Callable[[int, int], None]


class BuildBar:
    """Says how a build is doing.

    On a terminal one line is drawn again and again; elsewhere, such as in a log file, a line is
    written at most once a minute. The speed is that of the last networks of this run: what an
    earlier run had done says nothing about this machine.

    Parameters
    ----------
    stream : TextIO
    clock : callable, default time.monotonic
        Seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._terminal = stream.isatty()
        self._moments: deque[tuple[float, int]] = deque(maxlen=_WINDOW)
        self._last_shown: float | None = None
        self._line = ""

    def __call__(self, done: int, total: int) -> None:
        """Take the networks done and wanted, and show them if it is time."""
        now = self._clock()
        self._moments.append((now, done))
        self._line = self.line(done, total)
        pause = _SECONDS_BETWEEN_DRAWINGS if self._terminal else _SECONDS_BETWEEN_LINES
        if self._last_shown is None or done == total or now - self._last_shown >= pause:
            self._last_shown = now
            self._show()

    def line(self, done: int, total: int) -> str:
        """Say in one line how far the build is."""
        filled = _WIDTH * done // total
        parts = [f"[{'#' * filled}{'-' * (_WIDTH - filled)}] {done:,}/{total:,} networks"]
        (first_time, first_done), (last_time, last_done) = self._moments[0], self._moments[-1]
        if last_done > first_done and last_time > first_time:
            an_hour = (last_done - first_done) / (last_time - first_time) * 3600
            parts.append(f"{an_hour:,.0f} an hour")
            if done < total:
                parts.append(f"{_duration((total - done) / an_hour * 3600)} left")
        return ", ".join(parts)

    def end(self) -> None:
        """Leave the last state on the screen."""
        if self._terminal and self._line:
            self._show()
            self._stream.write("\n")
            self._stream.flush()

    def _show(self) -> None:
        self._stream.write(f"\r\x1b[K{self._line}" if self._terminal else f"{self._line}\n")
        self._stream.flush()


@contextmanager
def build_bar() -> Iterator[Progress]:
    """Show the bar on stderr while the context lasts."""
    bar = BuildBar(sys.stderr)
    try:
        yield bar
    finally:
        bar.end()


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} days"
