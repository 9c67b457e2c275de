"""Forecasts of the accuracy that a run will end with, and the numbers that a callback logs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from accuracy_from_weights.callbacks.failures import Guarded
from accuracy_from_weights.errors import InvalidArgumentError
from accuracy_from_weights.io.logged_names import FINAL_SUFFIXES

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.estimate import Estimate


class Forecasts:
    """The last forecast of a run's final accuracy, and the numbers to log for it.

    `advice` says where the planned length of the training comes from: a clause that follows a
    colon. `fresh` is the forecast beside the last estimate, if any.
    """

    def __init__(self, wanted: bool, name: str, guard: Guarded, advice: str) -> None:
        self.keys = tuple(name + suffix for suffix in FINAL_SUFFIXES) if wanted else ()
        self._guard = guard
        self._advice = advice
        self.clear()

    def clear(self) -> None:
        """Forget the last run."""
        self._values: tuple[float, ...] | None = None
        self._possible = bool(self.keys)
        self.miss()

    def miss(self) -> None:
        """Note that one is due: unless `make` succeeds, the last one stands in for it."""
        self.fresh: Estimate | None = None
        self._stale = True

    def make(
        self, ask: Callable[[float], Estimate], progress: Callable[[], float | None], epoch: int
    ) -> None:
        """Take what `ask` forecasts from the share of the plan that is done, if there is a plan."""
        if self._possible:
            self._guard.guard(f"the forecast of epoch {epoch}", lambda: self._make(ask, progress))

    def _make(self, ask: Callable[[float], Estimate], progress: Callable[[], float | None]) -> None:
        done = progress()
        if done is None:
            self._possible = False
            self._guard.warn_once(
                "no plan",
                "nothing is forecast, since it is not known how long the training is to be: "
                f"{self._advice}.",
            )
            return
        try:
            final = ask(done)
        except (InvalidArgumentError, TypeError):
            self._possible = False  # such a predictor cannot, and need not be asked again
            raise
        self._values = (float(final.accuracy), float(final.low), float(final.high))
        self.fresh = final
        self._stale = False

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """Those keys under which `values` repeats what was known before."""
        return self.keys if self._possible and self._stale else ()

    def values(self) -> dict[str, float]:
        """Return what to log: nothing where no forecast is possible.

        Where one failed, the last known one (0 without any) with the interval [0, 1].
        """
        if not self._possible:
            return {}
        numbers = (0.0, 0.0, 1.0) if self._values is None else self._values
        if self._stale:
            numbers = (numbers[0], 0.0, 1.0)
        return dict(zip(self.keys, numbers, strict=True))

    def state_dict(self) -> list[float] | None:
        """Return what a resumed run goes on with."""
        return None if self._values is None else list(self._values)

    def load_state_dict(self, state: list[float] | None) -> None:
        """Go on from a state that `state_dict` returned."""
        if state is not None and self.keys:
            final, low, high = (float(number) for number in state)
            self._values, self._stale = (final, low, high), False
