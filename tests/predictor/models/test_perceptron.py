from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from accuracy_from_weights.predictor.models.perceptron import Perceptron


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(seed).normal(size=(600, 5)).astype(np.float32)
    X[:, 4] = 3  # never varies
    return X, 0.5 + 0.1 * X[:, 0] - 0.05 * X[:, 1]


def test_learns_a_smooth_function():
    X, y = data()
    unseen, truth = data(1)
    assert np.abs(Perceptron.fit(X, y, 0).predict(unseen) - truth).mean() < 0.02


def test_what_never_varied_has_no_say():
    X, y = data()
    network = Perceptron.fit(X, y, 0)
    other = X.copy()
    other[:, 4] = 1e6
    np.testing.assert_array_equal(network.predict(other), network.predict(X))


def test_no_wild_guess_far_away():
    X, y = data()
    network = Perceptron.fit(X, y, 0)
    assert np.abs(network.predict(1e6 * X) - 0.5).max() < 2


def test_equal_seeds_give_equal_networks():
    X, y = data()
    same = [Perceptron.fit(X, y, seed).predict(X) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(same[0], same[1])
    assert not np.array_equal(same[0], same[2])


@pytest.mark.parametrize("name", ["weights0", "weights1", "bias0", "bias2", "centre", "scale"])
def test_damaged_arrays_are_refused(name):
    network = Perceptron.fit(*data(), 0)
    array = getattr(network, name)
    for damaged in (array[:-1], np.full_like(array, np.nan)):
        with pytest.raises(ValueError, match="shapes do not fit"):
            dataclasses.replace(network, **{name: damaged})
