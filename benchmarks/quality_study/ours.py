"""The predictor of this package without its intervals, which take most of the time of a fit."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features import log_columns
from accuracy_from_weights.features.feature_sets import feature_names
from accuracy_from_weights.features.log_columns import complete_log, first_guess
from accuracy_from_weights.predictor import (
    cross_fitting,
    expected_error,
    family,
    fit_rows,
    fitting,
    intervals,
)
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
from accuracy_from_weights.predictor.family import FamilyCheck
from accuracy_from_weights.predictor.fit_rows import FitRows, FitSettings, finite_rows
from accuracy_from_weights.predictor.models import (
    ensemble,
    kernel_machine,
    perceptron,
    standardising,
    targets,
)
from accuracy_from_weights.predictor.models.ensemble import Ensemble

Floats = NDArray[np.float64]
Inputs = NDArray[np.float32]

_MODULES = (
    *(intervals, cross_fitting, expected_error, family, kernel_machine, perceptron),
    *(ensemble, log_columns, standardising, fit_rows, fitting, targets),
)
MODEL = hashlib.sha256("".join(map(inspect.getsource, _MODULES)).encode()).hexdigest()
"""Of the code that is fitted: what a cache holds of other code says nothing."""


def point_estimates(
    features: str,
    train: Inputs,
    accuracies: Floats,
    runs: NDArray[np.str_],
    test: Inputs,
    random_state: int = 0,
) -> tuple[Floats, Floats]:
    """Say what `AccuracyPredictor` would.

    Parameters
    ----------
    features : str
    train : ndarray of shape (n, n_features)
    accuracies : ndarray of shape (n,)
    runs : ndarray of shape (n,)
        Of the rows fitted on.
    test : ndarray of shape (m, n_features)
    random_state : int

    Returns
    -------
    estimates, p_values : ndarray of shape (m,)
        Estimates, and how usual the network is among those fitted on.
    """
    names = feature_names(features)
    train, test = complete_log(train, names), complete_log(test, names)
    known, usable = finite_rows(train), finite_rows(test)
    lowest = np.sort(accuracies)[: max(len(accuracies) // 10, 3)]
    untrained = np.median(accuracies[~known] if (~known).any() else lowest)
    rows = FitRows.of(train, accuracies, guess=first_guess(train, names), runs=runs).take(known)
    check = FamilyCheck.fit(rows.X, rows.runs, random_state, names)
    ensemble = Ensemble.fit(rows, FitSettings(random_state=random_state))
    estimates = np.full(len(test), untrained)
    p_values = np.full(len(test), 1 / (len(check.distances) + 1))
    if usable.any():
        asked = test[usable]
        estimates[usable] = ensemble.predict(asked, first_guess(asked, names))
        p_values[usable] = check.p_values(asked)
    return estimates, p_values


def interval_estimates(
    features: str,
    train: Inputs,
    accuracies: Floats,
    runs: NDArray[np.str_],
    domains: NDArray[np.str_] | None,
    test: Inputs,
    n_folds: int,
) -> tuple[Floats, Floats, Floats]:
    """Fit the whole predictor; estimates (m,), intervals (m, 2) and p-values (m,)."""
    predictor: Any = AccuracyPredictor(features, n_folds=n_folds)
    predictor.fit(train, accuracies, groups=runs, domains=domains)
    estimates = predictor.judge(test)
    return (
        np.array([e.accuracy for e in estimates]),
        np.array([(e.low, e.high) for e in estimates]),
        np.array([e.family_p_value for e in estimates]),
    )
