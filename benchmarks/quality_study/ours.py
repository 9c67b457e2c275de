"""The predictor of this package, fitted as a user fits it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import accuracy_from_weights.predictor
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor

Floats = NDArray[np.float64]
Inputs = NDArray[np.float32]

_SOURCES = sorted(Path(accuracy_from_weights.predictor.__file__).parent.rglob("*.py"))
MODEL = hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()
"""Of the code that is fitted: what a cache holds of other code says nothing."""


def estimates_of(
    features: str,
    train: Inputs,
    accuracies: Floats,
    runs: NDArray[np.str_],
    test: Inputs,
    n_folds: int,
) -> tuple[Floats, Floats]:
    """Fit a predictor and ask it.

    Parameters
    ----------
    features : str
    train : ndarray of shape (n, n_features)
    accuracies : ndarray of shape (n,)
    runs : ndarray of shape (n,)
        Of the rows fitted on.
    test : ndarray of shape (m, n_features)
    n_folds : int
        In which the intervals are calibrated.

    Returns
    -------
    estimates : ndarray of shape (m,)
    intervals : ndarray of shape (m, 2)
    """
    predictor: Any = AccuracyPredictor(features, n_folds=n_folds)
    said = predictor.fit(train, accuracies, groups=runs).judge(test)
    return np.array([e.accuracy for e in said]), np.array([(e.low, e.high) for e in said])
