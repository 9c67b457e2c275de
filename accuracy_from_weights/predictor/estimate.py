"""The estimate of one network: an accuracy, its interval, and whether to rely on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

FAMILY_LEVEL = 0.01
"""Below this p-value a network is called outside the family: so many of the zoo's own would be."""


@dataclass(frozen=True)
class Estimate:
    """An accuracy with its interval.

    Attributes
    ----------
    accuracy : float
        Estimated test accuracy, fraction in [0, 1]; always finite.
    low, high : float
        Ends of the interval, fractions in [0, 1].
    in_family : bool
        Whether the network looks like those that the predictor was fitted on. Outside, neither the
        accuracy nor the interval can be relied on.
    coverage : float
        Share of unseen runs' networks whose true accuracy the interval is to hold, fraction.
    family_p_value : float
        Share of the predictor's own networks that look at least as unusual, in (0, 1].
    condition : str
        One of `conditions.CONDITIONS`: ``"ok"``; ``"diverged"`` when a weight is NaN or infinite
        (the estimate is then that of an untrained network); ``"untrained"``, ``"collapsed"`` to one
        answer, or ``"dead"`` when the weights plainly say so.
    """

    accuracy: float
    low: float
    high: float
    in_family: bool
    coverage: float = 0.9
    family_p_value: float = 1.0
    condition: str = "ok"

    @property
    def caution(self) -> str | None:
        """Why not to rely on the estimate, as a sentence; None where nothing speaks against it."""
        if self.condition == "diverged":
            return (
                "The network's weights hold NaN or infinite values: it has diverged, and gets the "
                "estimate of an untrained network."
            )
        if not self.in_family:
            return (
                "The network is unlike those that the predictor was fitted on (family p-value "
                f"{self.family_p_value:.2g}): take its estimate as a hint for ranking at most, or "
                "retrain the predictor on networks like it."
            )
        return None

    def __str__(self) -> str:
        text = (
            f"{self.accuracy:.3f} ({self.coverage:.0%} interval {self.low:.3f} to {self.high:.3f})"
        )
        notes = [] if self.condition == "ok" else [self.condition]
        if not self.in_family and self.condition != "diverged":
            notes.append("outside the family")
        return ", ".join([text, *notes])


def estimates_of(
    accuracies: Iterable[float],
    intervals: Iterable[Iterable[float]],
    *,
    p_values: Iterable[float],
    conditions: Iterable[str],
    coverage: float,
) -> list[Estimate]:
    """Return the estimates that columns of numbers make."""
    return [
        Estimate(
            accuracy=float(accuracy),
            low=float(low),
            high=float(high),
            in_family=bool(p_value >= FAMILY_LEVEL),
            coverage=float(coverage),
            family_p_value=float(p_value),
            condition=condition,
        )
        for accuracy, (low, high), p_value, condition in zip(
            accuracies, intervals, p_values, conditions, strict=True
        )
    ]
