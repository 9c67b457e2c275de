"""The models behind the estimate, fitted by scikit-learn and kept as plain trees.

Boosted and extremely randomised trees err in different places: their mean is better than either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor

from accuracy_from_weights.forest import Forest, as_forest

Floats = NDArray[np.float64]

_SMALLEST_ERROR = 0.003
"""Floor of the expected error, in units of accuracy: what a few thousand test images resolve."""


def fit_members(X: NDArray[np.float32], y: Floats, random_state: int) -> list[Forest]:
    """Fit the models whose predictions are averaged.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Finite features.
    y : ndarray of shape (n_rows,)
        Accuracies, fractions.
    random_state : int
        Seed of the trees.
    """
    boosting = HistGradientBoostingRegressor(
        learning_rate=0.06,
        max_iter=300,
        max_leaf_nodes=15,
        min_samples_leaf=8,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=random_state,
    )
    randomised = ExtraTreesRegressor(
        100,
        max_features=0.3,
        min_samples_leaf=2,
        max_leaf_nodes=1024,
        random_state=random_state,
    )
    return [as_forest(model.fit(X, y), X) for model in (boosting, randomised)]


def mean_prediction(members: Sequence[Forest], X: NDArray[np.float32]) -> Floats:
    """Average the members' predictions; shape (n_rows,)."""
    return np.mean([member.predict(X) for member in members], axis=0)


def fit_error(X: NDArray[np.float32], errors: Floats) -> Forest:
    """Fit the expected logarithm of the error: few, shallow trees, since errors are noisy."""
    model = HistGradientBoostingRegressor(
        learning_rate=0.05,
        max_iter=100,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    )
    return as_forest(model.fit(X, np.log(errors + _SMALLEST_ERROR)), X)


def expected_error(forest: Forest, X: NDArray[np.float32]) -> Floats:
    """Give the expected absolute error of each estimate, in units of accuracy; shape (n_rows,)."""
    return np.maximum(np.exp(forest.predict(X)), _SMALLEST_ERROR)
