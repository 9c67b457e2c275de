"""What a predictor says of one network."""

from __future__ import annotations

from dataclasses import dataclass


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
        ``"ok"``, or ``"diverged"`` when a weight is NaN or infinite: the estimate is then that of
        an untrained network.
    """

    accuracy: float
    low: float
    high: float
    in_family: bool
    coverage: float = 0.9
    family_p_value: float = 1.0
    condition: str = "ok"

    def __str__(self) -> str:
        text = (
            f"{self.accuracy:.3f} ({self.coverage:.0%} interval {self.low:.3f} to {self.high:.3f})"
        )
        if self.condition != "ok":
            return f"{text}, {self.condition}"
        return text if self.in_family else f"{text}, outside the family"
