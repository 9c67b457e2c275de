"""Anchoring: a few measured accuracies correct the level of all estimates of a task.

On a data set that the predictor has not seen, the order of its estimates holds and their level does
not: every task has its own best accuracy. A straight line between the logits of estimate and truth
corrects that. The line is a Bayesian linear regression whose prior is "the estimate is right"
(Bishop 2006, section 3.3), so that few truths do no harm. Its slope is kept positive: anchoring
never changes an order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from accuracy_from_weights.errors import InvalidArgumentError
from accuracy_from_weights.predictor.estimate import Estimate

Floats = NDArray[np.float64]

# In logits. From leaving one of three data sets out: anything from half to twice these values
# changed the mean absolute error with ten truths by less than a tenth.
_SHIFT_DEVIATION = 1.0
_SLOPE_DEVIATION = 0.5
_NOISE = 0.5
_SMALLEST_SLOPE = 0.05
_MARGIN = 0.002
"""Estimates nearer to 0 or 1 than this have no meaningful logit."""
_PRIOR_TRUTHS = 5.0
"""The stated width counts as much as so many truths that it fitted."""


@dataclass(frozen=True)
class Anchor:
    """A line between logits, and how much wider the intervals have to be.

    Attributes
    ----------
    shift, slope : float
        Of the logits; 0 and 1 leave an estimate as it is.
    widening : float
        Factor on the half-width of an interval, before the line is applied.
    """

    shift: float = 0.0
    slope: float = 1.0
    widening: float = 1.0

    def __post_init__(self) -> None:
        numbers = (self.shift, self.slope, self.widening)
        if not (np.isfinite(numbers).all() and self.slope > 0 and self.widening > 0):
            raise ValueError(f"an anchor of {numbers}, which are not finite, or not above 0")

    @classmethod
    def fit(cls, estimates: ArrayLike, half_widths: ArrayLike, accuracies: ArrayLike) -> Anchor:
        """Fit the line to k measured accuracies.

        Estimates are fractions without an anchor; half-widths, of their intervals, are in units of
        accuracy.
        """
        x, z = _logit(estimates), _logit(accuracies)
        design = np.stack([np.ones_like(x), x], axis=1)
        precision = np.diag([_SHIFT_DEVIATION**-2, _SLOPE_DEVIATION**-2])
        inverse = np.linalg.inv(design.T @ design / _NOISE**2 + precision)
        shift, slope = inverse @ (design.T @ z / _NOISE**2 + precision @ [0.0, 1.0])
        slope = max(float(slope), _SMALLEST_SLOPE)
        # A truth that moved the line lies nearer to it than the next one will: divided by one
        # minus its leverage, the residual is that of the line without it.
        leverage = np.einsum("ki,ij,kj->k", design, inverse, design) / _NOISE**2
        residuals = (z - shift - slope * x) / (1 - leverage)
        # In logits an interval is as wide as the logit is steep where its centre lies.
        centre = np.clip(np.asarray(estimates, float), _MARGIN, 1 - _MARGIN)
        expected = slope * np.asarray(half_widths, float) / (centre * (1 - centre))
        ratios = (residuals / np.maximum(expected, 1e-6)) ** 2 * _HALF_WIDTH_IN_DEVIATIONS**2
        widening = np.sqrt((_PRIOR_TRUTHS + ratios.sum()) / (_PRIOR_TRUTHS + len(x)))
        return cls(float(shift), slope, float(widening))

    def centre(self, accuracies: ArrayLike) -> Floats:
        """Return corrected estimates: fractions of the same shape, in the same order."""
        if (self.shift, self.slope) == (0, 1):
            return np.clip(np.asarray(accuracies, np.float64), 0, 1)
        return np.asarray(expit(self.shift + self.slope * _logit(accuracies)), np.float64)

    def ends(self, accuracies: ArrayLike, half_widths: ArrayLike) -> Floats:
        """Return corrected intervals of shape (n, 2), which hold the corrected estimates.

        Accuracies and half-widths, of shape (n,), are those without an anchor. A half-width of 1
        says that nothing is known, and a few truths do not change that: the interval is [0, 1].
        """
        p, half = np.asarray(accuracies, float), np.asarray(half_widths, float)
        ends = np.stack([self.centre(p + sign * self.widening * half) for sign in (-1, 1)], axis=-1)
        return np.where(half[..., None] >= 1, [0.0, 1.0], ends)


def numbers_of(estimates: Iterable[Estimate]) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return centres and half-widths of estimates, and which are usable: diverged ones are not.

    The estimates were made without an anchor.
    """
    rows = [
        (e.accuracy, max(e.accuracy - e.low, e.high - e.accuracy), e.condition != "diverged")
        for e in estimates
    ]
    centres, half, usable = np.array(rows, float).T
    return centres, half, usable.astype(bool)


def check_truths(accuracies: Floats, n_networks: int) -> None:
    """Raise `InvalidArgumentError` when there is not one true accuracy a network, a fraction."""
    if len(accuracies) != n_networks or not ((accuracies >= 0) & (accuracies <= 1)).all():
        raise InvalidArgumentError(
            f"{len(accuracies)} accuracies from {accuracies.min(initial=1):.3g} to "
            f"{accuracies.max(initial=0):.3g} do not suit {n_networks} networks; pass one in "
            "[0, 1] for each."
        )


_HALF_WIDTH_IN_DEVIATIONS = 1.645
"""A 90% interval of a normal distribution reaches so many standard deviations to either side."""


def _logit(fractions: ArrayLike) -> Floats:
    return np.asarray(
        logit(np.clip(np.asarray(fractions, float), _MARGIN, 1 - _MARGIN)), np.float64
    )
