from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from accuracy_from_weights.predictor.models.boosting import fit_boosted

SETTINGS = {"max_iter": 40, "max_leaf_nodes": 15, "min_samples_leaf": 8}


def data(seed: int, n_values: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(600, 4)).astype(np.float32)
    if n_values:
        X = (generator.integers(n_values, size=(600, 4)) ** 3 / 7).astype(np.float32)
    X[:, 3] = 3  # never varies
    return X, np.sin(X[:, 0]) + (X[:, 1] > 1), generator.uniform(0.1, 3, 600)


def of_library(X: np.ndarray, y: np.ndarray, weights: np.ndarray) -> HistGradientBoostingRegressor:
    model = HistGradientBoostingRegressor(
        l2_regularization=1.0, early_stopping=False, max_bins=63, **SETTINGS
    )
    return model.fit(X, y, sample_weight=weights)


def test_of_few_values_it_is_what_scikit_learn_fits():
    X, y, weights = data(0, 60)
    unseen = np.concatenate([data(1, 90)[0], data(2, 0)[0]])
    expected = of_library(X, y, weights).predict(unseen)
    answers = fit_boosted(X, y, weights, **SETTINGS).predict(unseen)
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-5)


def test_of_many_values_it_errs_by_as_much_as_scikit_learn():
    X, y, weights = data(0, 0)
    unseen, truth, _ = data(1, 0)
    theirs = np.abs(of_library(X, y, weights).predict(unseen) - truth).mean()
    ours = np.abs(fit_boosted(X, y, weights, **SETTINGS).predict(unseen) - truth).mean()
    assert ours == pytest.approx(theirs, rel=0.15)


def test_neighbouring_numbers_are_told_apart():
    X = np.repeat(np.float32([1, np.nextafter(np.float32(1), np.float32(2))]), 50)[:, None]
    y = np.repeat([0.2, 0.8], 50)
    answers = fit_boosted(X, y, None, max_iter=40).predict(X)
    np.testing.assert_allclose(answers, y, atol=0.05)
