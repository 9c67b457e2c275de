"""Early-stopping rules that read estimates; every decision carries its reason.

A rule is given one estimate after another, ``rule.update(estimate, step)``, and returns a
`Decision`. It works alone, in a `Monitor`, and as the ``stopping`` argument of every callback of
this package. The rules never look at data, only at the estimate and its interval.

===========  =================================================================================
Rule         Stops when
===========  =================================================================================
`Patience`   the estimate has not risen for a number of estimates
`Plateau`    the last estimates differ by less than the estimate can tell apart
`Hopeless`   the interval's top stays below what other runs had reached by the same step, or the
             forecast's below what is to be reached at the end
`Diverged`   the weights hold NaN or infinity
`FirstOf`    one of several rules stops
===========  =================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from accuracy_from_weights.errors import flag, invalid_argument, number_between, positive_int
from accuracy_from_weights.stopping.protocol import (
    GO_ON,
    Decision,
    Estimated,
    StoppingRule,
    StopReason,
)

BOUNDS = ("accuracy", "low", "high")
HORIZONS = ("now", "final")


class _CountingRule(StoppingRule):
    """A rule that remembers some attributes of plain values, which `reset` sets."""

    _remembered: tuple[str, ...] = ()

    def state_dict(self) -> dict[str, Any]:
        """Return what the rule has seen so far."""
        return {name: getattr(self, name) for name in self._remembered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        for name in self._remembered:
            setattr(self, name, state[name])


class Patience(_CountingRule):
    """Stop when the estimate has not risen for a number of estimates.

    Parameters
    ----------
    patience
        How many estimates in a row may pass without a rise. Defaults to 5.
    min_delta
        A rise counts only above this, fraction in [0, 1]. Defaults to 0.
    bound
        What has to rise: ``"accuracy"``, or the interval's ``"low"`` (cautious: a rise that comes
        with a wider interval does not count) or ``"high"``. Defaults to ``"accuracy"``.
    only_in_family
        Whether an estimate outside the predictor's family is ignored: it neither counts as a rise
        nor uses up patience. Defaults to False.
    """

    _remembered = ("best", "best_step", "waited")

    def __init__(
        self,
        patience: int = 5,
        min_delta: float = 0.0,
        bound: str = "accuracy",
        only_in_family: bool = False,
    ) -> None:
        self.patience = positive_int("patience", patience)
        self.min_delta = number_between("min_delta", min_delta, 0.0, 1.0)
        if bound not in BOUNDS:
            raise invalid_argument("bound", bound, f"one of {', '.join(map(repr, BOUNDS))}")
        self.bound = bound
        self.only_in_family = flag("only_in_family", only_in_family)
        self.reset()

    def reset(self) -> None:
        """Forget the best value and the count."""
        self.best: float | None = None
        self.best_step: float | None = None
        self.waited = 0

    def update(self, estimate: Estimated, step: float) -> Decision:
        """Take the next estimate and decide; see `StoppingRule.update`."""
        if self.only_in_family and not estimate.in_family:
            return GO_ON
        value = float(getattr(estimate, self.bound))
        if self.best is None or value > self.best + self.min_delta:
            self.best, self.best_step, self.waited = value, float(step), 0
            return GO_ON
        self.waited += 1
        if self.waited < self.patience:
            return GO_ON
        return Decision(
            True,
            StopReason.NO_IMPROVEMENT,
            f"the estimate's {self.bound} has not risen above {self.best:.4f} "
            f"(step {self.best_step:g}) in the last {self.waited} estimates",
        )


class Plateau(_CountingRule):
    """Stop when the last estimates differ by less than the estimate can tell apart.

    Within one run the errors of neighbouring estimates are much alike, so a change far smaller
    than the interval is still seen; `share` says how small a change no longer matters. A run that
    is falling is not on a plateau: that is what `Patience` is for.

    Parameters
    ----------
    window
        How many estimates in a row must lie together. Defaults to 5.
    share
        They lie together when their largest and smallest differ by at most this share of the
        interval's mean width, fraction in [0, 1]. Defaults to 0.1.
    """

    _remembered = ("recent",)

    def __init__(self, window: int = 5, share: float = 0.1) -> None:
        self.window = positive_int("window", window)
        if self.window < 2:
            wanted = "an integer of at least 2, since one estimate alone is always level"
            raise invalid_argument("window", window, wanted)
        self.share = number_between("share", share, 0.0, 1.0)
        self.reset()

    def reset(self) -> None:
        """Forget the estimates seen."""
        self.recent: list[list[float]] = []  # estimates, each with its interval's width

    def update(self, estimate: Estimated, step: float) -> Decision:
        """Take the next estimate and decide; see `StoppingRule.update`."""
        newest = [float(estimate.accuracy), float(estimate.high - estimate.low)]
        self.recent = [*self.recent, newest][-self.window :]
        if len(self.recent) < self.window:
            return GO_ON
        values = [value for value, _ in self.recent]
        spread = max(values) - min(values)
        allowed = self.share * sum(width for _, width in self.recent) / self.window
        if spread > allowed:
            return GO_ON
        return Decision(
            True,
            StopReason.PLATEAU,
            f"the last {self.window} estimates lie within {spread:.4f} of each other, which is at "
            f"most {self.share:g} of their interval's width",
        )


class Hopeless(_CountingRule):
    """Stop when the interval's top stays below what other runs had reached by the same step.

    Every run begins low, so a bar for the final accuracy would end good runs, too: pass the bar as
    a function of the step (`best_so_far` makes one from recorded runs), or `after`.

    Parameters
    ----------
    reached
        The accuracy that other runs had reached, fraction in [0, 1]: a number, or a function of
        the step, which may change while a search goes on. Where the function returns NaN or None
        (nothing is known there), the run goes on.
    patience
        How many estimates in a row must stay below. Defaults to 2.
    after
        Judge no run before this step. Defaults to 0.
    horizon
        ``"final"`` judges not the estimate but the forecast of what the run will end with, so that
        `reached` may be a plain number; a callback then needs ``forecast=True``. Defaults to
        ``"now"``.
    """

    _remembered = ("below",)

    def __init__(
        self,
        reached: float | Callable[[float], float | None],
        patience: int = 2,
        after: float = 0.0,
        horizon: str = "now",
    ) -> None:
        if horizon not in HORIZONS:
            raise invalid_argument("horizon", horizon, "'now' or 'final'")
        self.horizon = horizon
        self.reached = reached if callable(reached) else number_between("reached", reached, 0, 1)
        self.patience = positive_int("patience", patience)
        self.after = number_between("after", after, 0.0, math.inf)
        self.reset()

    def reset(self) -> None:
        """Forget how often the run was below."""
        self.below = 0

    def update(self, estimate: Estimated, step: float) -> Decision:
        """Take the next estimate and decide; see `StoppingRule.update`."""
        if step < self.after:
            return GO_ON
        bar = self.reached(step) if callable(self.reached) else self.reached
        if bar is None or not math.isfinite(bar) or estimate.high >= bar:
            self.below = 0
            return GO_ON
        self.below += 1
        if self.below < self.patience:
            return GO_ON
        return Decision(
            True,
            StopReason.HOPELESS,
            f"the {'forecast' if self.reads_forecast else 'interval'}'s top, {estimate.high:.4f} "
            f"at step {step:g}, has stayed below the {bar:.4f} of other runs for {self.below} "
            "estimates",
        )


class Diverged(_CountingRule):
    """Stop when the weights hold NaN or infinity: such a run does not come back."""

    def reset(self) -> None:
        """Do nothing; the rule has no memory."""

    def update(self, estimate: Estimated, step: float) -> Decision:
        """Take the next estimate and decide; see `StoppingRule.update`."""
        if getattr(estimate, "condition", "ok") != "diverged":
            return GO_ON
        return Decision(
            True, StopReason.DIVERGED, f"the weights hold NaN or infinity at step {step:g}"
        )


class FirstOf(StoppingRule):
    """Stop as soon as one of several rules does; all of them see every estimate."""

    def __init__(self, *rules: StoppingRule) -> None:
        wrong = [rule for rule in rules if not isinstance(rule, StoppingRule)]
        if not rules or wrong:
            wanted = "one or more stopping rules, as in FirstOf(Patience(5), Diverged())"
            raise invalid_argument("rules", tuple(wrong or rules), wanted)
        self.rules = rules

    def reset(self) -> None:
        """Reset every rule."""
        for rule in self.rules:
            rule.reset()

    def update(self, estimate: Estimated, step: float) -> Decision:
        """Take the next estimate and decide; see `StoppingRule.update`."""
        return _first_stop([rule.update(estimate, step) for rule in self.rules])

    @property
    def reads_forecast(self) -> bool:
        """Whether one of the rules has to be given forecasts."""
        return any(rule.reads_forecast for rule in self.rules)

    def decide(self, estimate: Estimated, forecast: Estimated | None, step: float) -> Decision:
        """Hand each rule what it judges; see `StoppingRule.decide`."""
        return _first_stop([rule.decide(estimate, forecast, step) for rule in self.rules])

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all rules, in order."""
        return {"rules": [rule.state_dict() for rule in self.rules]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        for rule, its_state in zip(self.rules, state["rules"], strict=True):
            rule.load_state_dict(its_state)


def _first_stop(decisions: Sequence[Decision]) -> Decision:
    return next((decision for decision in decisions if decision.stop), GO_ON)


def best_so_far(
    runs: Sequence[Mapping[float, float]], quantile: float = 0.5
) -> Callable[[float], float]:
    """Return the bar of `Hopeless` that recorded runs set: a quantile of their best by each step.

    With the default this is the median stopping rule (Golovin et al., "Google Vizier", 2017, 3.2)
    with the interval's top in the place of the measured value.

    Parameters
    ----------
    runs
        One mapping from step to accuracy (fraction in [0, 1]) a run; measured or estimated. The
        sequence is read at each call, so runs may be added while a search goes on.
    quantile
        Which of the other runs a run has to reach, from 0 (the worst) to 1 (the best). Defaults
        to 0.5.

    Returns
    -------
    A function from step to accuracy; NaN where no run has a value at or before the step.
    """
    number_between("quantile", quantile, 0.0, 1.0)

    def reached(step: float) -> float:
        bests = [
            max(value for at, value in run.items() if at <= step)
            for run in runs
            if any(at <= step for at in run)
        ]
        return float(np.quantile(bests, quantile)) if bests else math.nan

    return reached
