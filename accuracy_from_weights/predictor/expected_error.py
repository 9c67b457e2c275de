"""Expected absolute error of an estimate, by which an interval is wide or narrow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.predictor.fit_rows import FitRows
from accuracy_from_weights.predictor.models.boosting import fit_boosted
from accuracy_from_weights.predictor.models.ensemble import threads_for
from accuracy_from_weights.predictor.models.forest import Forest, constant_forest

Floats = NDArray[np.float64]

_SMALLEST_ERROR = 0.003
"""Floor of the expected error, in units of accuracy: what a few thousand test images resolve."""
_USUAL_ERROR = 0.03
"""Where a power leaves the expected error as it is."""
_LARGEST_POWER = 1.6
_SMALLEST_LEAF = 20
_BINS, _FEWEST_IN_A_BIN, _SMALLEST_SPREAD = 8, 100, 0.5


@dataclass(frozen=True, eq=False)
class ExpectedError:
    """Expected absolute error of an estimate, from the same features.

    Attributes
    ----------
    logarithm : Forest
        Of the absolute error. Few, shallow trees, since single errors are noisy.
    power : float
        The trees' answers are raised to it, see `power_of`.
    """

    logarithm: Forest
    power: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.power <= _LARGEST_POWER:
            raise ValueError(f"a power of {self.power}, outside 1 to {_LARGEST_POWER}")

    @classmethod
    def fit(cls, rows: FitRows, errors: Floats, power: float = 1.0) -> ExpectedError:
        """Fit to the absolute errors, of shape (n_rows,), of estimates for rows left out."""
        logarithms = np.log(errors + _SMALLEST_ERROR)
        if len(rows) < 2 * _SMALLEST_LEAF:  # No tree could split them: all it knows is the mean.
            mean = float(np.average(logarithms, weights=rows.weights))
            return cls(constant_forest(mean), power)
        with threads_for(len(rows)):
            trees = fit_boosted(
                rows.X,
                logarithms,
                rows.weights,
                learning_rate=0.05,
                max_iter=100,
                max_leaf_nodes=8,
                min_samples_leaf=_SMALLEST_LEAF,
            )
        return cls(trees, power)

    @property
    def n_features_needed(self) -> int:
        """The smallest number of columns that `predict` works on."""
        return self.logarithm.n_features_needed

    def predict(self, X: NDArray[np.float32]) -> Floats:
        """Return expected absolute errors of shape (n_rows,), in units of accuracy."""
        said = np.maximum(np.exp(np.minimum(self.logarithm.predict(X), 0)), _SMALLEST_ERROR)
        return raised(said, self.power)


def raised(expected: Floats, power: float) -> Floats:
    """Stretch expected errors away from the usual one."""
    return _USUAL_ERROR * (expected / _USUAL_ERROR) ** power


def power_of(errors: Floats, expected: Floats, coverage: float) -> float:
    """Return the power by which expected errors, made without seeing the errors, are stretched.

    Regularised trees say too little of large errors and too much of small ones, so that intervals
    hold too seldom where networks are hard to judge and too often where they are not. The power is
    the slope of the errors' quantile against the expected error, in logarithms, over bins of equal
    size. It is at least 1, and 1 where there are too few rows to tell.
    """
    if len(errors) < _BINS * _FEWEST_IN_A_BIN:
        return 1.0
    bins = np.array_split(np.argsort(expected, kind="stable"), _BINS)
    where = [float(np.log(expected[rows]).mean()) for rows in bins]
    quantile = [float(np.quantile(errors[rows], coverage)) for rows in bins]
    if np.ptp(where) < _SMALLEST_SPREAD or min(quantile) <= 0:
        return 1.0
    slope = np.polyfit(where, np.log(quantile), 1)[0]
    return float(np.clip(slope, 1, _LARGEST_POWER))
