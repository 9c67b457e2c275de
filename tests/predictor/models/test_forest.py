from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor

from accuracy_from_weights.predictor.models.forest import Forest, as_forest


def data(seed: int, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, 6)).astype(np.float32)
    X[:, 3] = np.round(X[:, 3])  # values that stand exactly on thresholds
    return X, np.sin(2 * X[:, 0]) + X[:, 1] * (X[:, 3] > 0)


MODELS = {
    "boosting": lambda: HistGradientBoostingRegressor(max_iter=40, random_state=0),
    "coarse": lambda: HistGradientBoostingRegressor(max_iter=40, max_bins=15, random_state=0),
    "extra": lambda: ExtraTreesRegressor(20, max_leaf_nodes=50, random_state=0),
    "full": lambda: ExtraTreesRegressor(5, random_state=0),
}


@pytest.mark.parametrize("name", MODELS)
def test_predicts_what_scikit_learn_predicts(name):
    X, y = data(0)
    model = MODELS[name]().fit(X, y)
    forest = as_forest(model, X)
    unseen = np.concatenate([X, data(1)[0], 100 * data(2)[0]])
    np.testing.assert_allclose(forest.predict(unseen), model.predict(unseen), rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(-(2.0**99), 2.0**99, width=32))
def test_follows_the_same_branch_on_every_float32(seed, value):
    X, y = data(seed % 5)
    model = HistGradientBoostingRegressor(max_iter=10, random_state=0).fit(X, y)
    row = np.full((1, 6), value, np.float32)
    row[0, seed % 6] = X[seed % 300, seed % 6]
    np.testing.assert_allclose(
        as_forest(model, X).predict(row), model.predict(row), rtol=1e-5, atol=1e-5
    )


def test_a_constant_target_gives_trees_of_one_leaf():
    X, _ = data(0)
    model = ExtraTreesRegressor(3, random_state=0).fit(X, np.full(len(X), 0.25))
    np.testing.assert_allclose(as_forest(model, X).predict(X), 0.25)


def test_many_rows_are_predicted_in_chunks():
    X, y = data(0)
    forest = as_forest(ExtraTreesRegressor(20, random_state=0).fit(X, y), X)
    many = np.tile(X, (400, 1))  # 20 trees: more than one chunk
    np.testing.assert_allclose(forest.predict(many), np.tile(forest.predict(X), 400))


def test_refuses_a_model_whose_trees_were_not_understood(monkeypatch):
    X, y = data(0)
    model = HistGradientBoostingRegressor(max_iter=5, random_state=0).fit(X, y)
    monkeypatch.setattr(model, "_baseline_prediction", np.array([[17.0]]))
    expected = model.predict(X)
    monkeypatch.setattr(model, "predict", lambda X: expected[: len(X)] + 1)
    with pytest.raises(RuntimeError, match="differ from scikit-learn"):
        as_forest(model, X)


def good() -> Forest:
    X, y = data(0)
    return as_forest(ExtraTreesRegressor(3, max_leaf_nodes=8, random_state=0).fit(X, y), X)


def first_inner(forest: Forest) -> int:
    return int(np.flatnonzero(forest.left != np.arange(len(forest.left)))[0])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("left", lambda f, a: np.put(a, first_inner(f), -5)),
        ("left", lambda f, a: np.put(a, first_inner(f), len(a) - 1)),
        ("left", lambda f, a: np.put(a, len(a) - 1, 0)),
        ("roots", lambda f, a: np.put(a, 0, len(f.left))),
        ("feature", lambda f, a: np.put(a, 0, -1)),
        ("value", lambda f, a: np.put(a, 0, np.nan)),
        ("threshold", lambda f, a: np.put(a, 0, np.nan)),
        ("depth", lambda f, a: a.fill(10**6)),
    ],
)
def test_damaged_arrays_are_refused(name, damage):
    forest = good()
    array = getattr(forest, name).copy()
    damage(forest, array)
    with pytest.raises(ValueError, match="nodes do not fit together"):
        dataclasses.replace(forest, **{name: array})


def test_arrays_of_different_length_are_refused():
    forest = good()
    with pytest.raises(ValueError, match="nodes do not fit together"):
        dataclasses.replace(forest, value=forest.value[:-1])
