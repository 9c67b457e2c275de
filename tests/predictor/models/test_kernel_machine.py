from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.svm import SVR

from accuracy_from_weights.predictor.models.kernel_machine import KernelMachine


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(seed).normal(size=(300, 5)).astype(np.float32)
    X[:, 4] = 3  # never varies
    return X, 0.5 + 0.1 * X[:, 0] - 0.05 * X[:, 1] * X[:, 2]


def test_learns_a_smooth_function():
    unseen, truth = data(1)
    assert np.abs(KernelMachine.fit(*data()).predict(unseen) - truth).mean() < 0.02


def test_predicts_as_the_library_that_fitted_it():
    X, y = data()
    machine = KernelMachine.fit(X, y)
    z = np.clip((X - machine.centre) / machine.scale, -3, 3).astype(np.float16).astype(np.float32)
    unit = y.std()
    library = SVR(C=4, epsilon=0.04, gamma=float(machine.sharpness)).fit(z, y / unit)
    np.testing.assert_allclose(machine.predict(X), unit * library.predict(z), atol=1e-3)


def test_the_unit_of_the_target_does_not_matter():
    X, y = data()
    small, large = (KernelMachine.fit(X, unit * y).predict(X) / unit for unit in (0.01, 10.0))
    np.testing.assert_allclose(small, large, atol=1e-3)


def test_what_never_varied_has_no_say():
    X, y = data()
    machine = KernelMachine.fit(X, y)
    other = X.copy()
    other[:, 4] = 1e6
    np.testing.assert_array_equal(machine.predict(other), machine.predict(X))


def test_far_away_it_says_what_is_usual():
    X, y = data()
    assert np.abs(KernelMachine.fit(X, y).predict(1e6 * X) - 0.5).max() < 0.5


def test_a_constant_target_is_learned():
    X, _ = data()
    np.testing.assert_allclose(KernelMachine.fit(X, np.full(300, 0.7)).predict(X), 0.7, atol=1e-5)


@pytest.mark.parametrize("name", ["centre", "scale", "vectors", "heights", "sharpness", "constant"])
def test_damaged_arrays_are_refused(name):
    machine = KernelMachine.fit(*data())
    array = getattr(machine, name)
    shorter = array[:-1] if array.ndim else np.append(array, array)
    for damaged in (shorter, np.full_like(array, np.nan)):
        with pytest.raises(ValueError, match="shapes do not fit"):
            dataclasses.replace(machine, **{name: damaged})
