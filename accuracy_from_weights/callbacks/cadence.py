"""The epochs at which a callback estimates: every nth one, or as many as cost little."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from time import perf_counter

FREE_SECONDS = 10.0
"""What estimates may take in any run, so that runs of seconds get one at every epoch."""
SHARE = 0.02
"""Of the time of the training so far: what estimates may take beyond `FREE_SECONDS`."""


class Cadence:
    """Holder of what estimates have taken in a run, and of the rule that says when one is due.

    Parameters
    ----------
    every
        Estimate at epochs 0, n, 2n, ...; None to go by the time that estimates take.
    """

    def __init__(self, every: int | None) -> None:
        self.every = every
        self.start_run(resumed=False)

    def start_run(self, resumed: bool) -> None:
        """Start the clock; a resumed run goes on with it, though its first epoch is due."""
        self._is_first = True
        if not resumed:
            self._began, self._spent, self._cost = perf_counter(), 0.0, 0.0

    def allows(self, epoch: int) -> bool:
        """Return whether an estimate as long as the last one stays within its share of the time."""
        if self.every is not None:
            return epoch % self.every == 0
        trained = perf_counter() - self._began - self._spent
        return self._is_first or self._spent + self._cost <= FREE_SECONDS + SHARE * trained

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count what the block takes as the time of one estimate."""
        spent, began = self._spent, perf_counter()
        try:
            yield
        finally:
            self._is_first = False
            self._spent += perf_counter() - began
            self._cost = self._spent - spent

    @contextlib.contextmanager
    def uncounted(self) -> Iterator[None]:
        """Leave what the block takes out of the time of the estimate around it."""
        began = perf_counter()
        try:
            yield
        finally:
            self._spent -= perf_counter() - began
