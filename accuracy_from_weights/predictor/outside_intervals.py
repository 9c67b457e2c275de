"""How much wider an interval has to be where a network is unlike those of the zoo.

An interval is calibrated on networks of the same zoo and means nothing for others. What others do
to the estimate is learned by leaving whole domains of the zoo out (a data set, a kind of
architecture): among the networks left out, those that the family check would call strangers show
by how much the errors outgrow the interval.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.predictor.cross_fitting import each_domain
from accuracy_from_weights.predictor.expected_error import ExpectedError
from accuracy_from_weights.predictor.family import FamilyCheck
from accuracy_from_weights.predictor.fit_rows import FEWEST_RUNS
from accuracy_from_weights.predictor.intervals import conformal_widths
from accuracy_from_weights.predictor.models.ensemble import Ensemble

Floats = NDArray[np.float64]

_MOST_ROWS = 4_000
"""Rows that an ensemble is fitted to: how far off it is elsewhere does not hang on more."""
_FEWEST_STRANGERS = 30


def widening_outside(
    X: NDArray[np.float32],
    y: Floats,
    runs: NDArray[Any],
    guess: Floats,
    errors: Floats,
    scores: Floats,
    power: float,
    domains: NDArray[Any],
    level: float,
    coverage: float,
    random_state: int,
) -> float:
    """Learn the factor on the half-width of the intervals of networks outside the family.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
    y, guess : ndarray of shape (n_rows,)
        See `CrossFit.of`.
    runs : ndarray of shape (n_rows,)
    errors, scores : ndarray of shape (n_rows,)
        Of the cross-fit: absolute, and over the expected error.
    power : float
        Of the expected error.
    domains : ndarray of shape (n_rows,) or (n_rows, k)
        Each value of each column is left out once.
    level : float
        The p-value below which a network is called outside the family.
    coverage : float
        Fraction that the widened intervals are to hold.
    random_state : int

    Returns
    -------
    float
        At least 1; 1 where fewer than two domains, or too few strangers, leave nothing to learn.
    """
    generator = np.random.default_rng(random_state)
    width = conformal_widths(scores, runs, [coverage])[0]
    factors, strangers = [], []
    for _, is_outside in each_domain(domains):
        inside = np.flatnonzero(~is_outside)
        if len(np.unique(runs[inside])) < FEWEST_RUNS:
            continue
        chosen = generator.permutation(inside)[:_MOST_ROWS]
        left_out = generator.permutation(np.flatnonzero(is_outside))[:_MOST_ROWS]
        family = FamilyCheck.fit(X[chosen], runs[chosen], random_state)
        outside = left_out[family.p_values(X[left_out]) < level]
        if not len(outside):
            continue
        ensemble = Ensemble.fit(X[chosen], y[chosen], guess[chosen], random_state)
        error = ExpectedError.fit(X[chosen], errors[chosen], power)
        predicted = ensemble.predict(X[outside], guess[outside])
        factors.append(np.abs(predicted - y[outside]) / error.predict(X[outside]) / width)
        strangers.append(runs[outside])
    if sum(map(len, factors)) < _FEWEST_STRANGERS:
        return 1.0
    found = conformal_widths(np.concatenate(factors), np.concatenate(strangers), [coverage])[0]
    return float(max(found, 1.0)) if np.isfinite(found) else float(np.concatenate(factors).max())
