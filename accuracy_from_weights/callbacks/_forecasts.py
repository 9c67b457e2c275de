"""What accuracy the run will end with, told beside each estimate where the plan is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from accuracy_from_weights.callbacks._names import FINAL_SUFFIXES
from accuracy_from_weights.errors import InvalidArgumentError, flag

if TYPE_CHECKING:
    from accuracy_from_weights.callbacks._guarding import Guard
    from accuracy_from_weights.predictor.estimate import Estimate

Share = Callable[[], "float | None"]


def share_done(done: float, planned: Any) -> float | None:
    """Return the share of the planned training that is done; None where no end is planned."""
    if planned is None or not 0 < planned < math.inf:
        return None
    return min(max(done / planned, 0.0), 1.0)


class Forecasts:
    """The last forecast of a run, and the numbers to log for it.

    Parameters
    ----------
    wanted
        Whether to forecast.
    name
        The key of the accuracy.
    guard
        What keeps an error in a forecast from ending the run.
    advice
        Where the plan comes from in this framework: a clause that follows a colon.

    Attributes
    ----------
    keys
        Of the forecast and its interval; none where it is not wanted.
    fresh
        The forecast beside the last estimate; None where there is none.
    """

    def __init__(self, wanted: bool, name: str, guard: Guard, advice: str) -> None:
        wanted = flag("forecast", wanted)
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
        """Note that one is due: unless `make` succeeds, what is known stands in for it."""
        self.fresh: Estimate | None = None
        self._stale = True

    def make(self, ask: Callable[[float], Estimate], share: Share | None, epoch: int) -> None:
        """Take what the predictor forecasts, if it can; never raises an `Exception`.

        Parameters
        ----------
        ask
            Gives the forecast for a share of the planned training.
        share
            Gives the share that is done, in [0, 1], or None where the plan is not known.
        epoch
            For messages.
        """
        if self._possible:
            self._guard.guard(f"the forecast of epoch {epoch}", lambda: self._make(ask, share))

    def _make(self, ask: Callable[[float], Estimate], share: Share | None) -> None:
        done = None if share is None else share()
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
        """Return the last forecast in plain numbers."""
        return None if self._values is None else list(self._values)

    def load_state_dict(self, state: list[float] | None) -> None:
        """Go on from a state that `state_dict` gave."""
        if state is not None and self.keys:
            final, low, high = (float(number) for number in state)
            self._values, self._stale = (final, low, high), False
