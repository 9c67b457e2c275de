from __future__ import annotations

import numpy as np
import pytest

from accuracy_from_weights.predictor.expected_error import ExpectedError, power_of, raised
from accuracy_from_weights.predictor.fit_rows import FitRows

RANDOM = np.random.default_rng(0)
EXPECTED = np.exp(RANDOM.uniform(np.log(0.005), np.log(0.2), 4_000))


def errors(power: float) -> np.ndarray:
    return raised(EXPECTED, power) * np.abs(RANDOM.normal(size=len(EXPECTED)))


def rows(X: np.ndarray) -> FitRows:
    zeros = np.zeros(len(X))
    return FitRows.of(X.astype(np.float32), zeros, guess=zeros)


@pytest.mark.parametrize("power", [1.0, 1.25, 1.5])
def test_the_power_that_made_the_errors_is_found(power):
    assert power_of(errors(power), EXPECTED, 0.9) == pytest.approx(power, abs=0.06)


def test_it_makes_intervals_hold_as_often_where_networks_are_hard_to_judge():
    found = errors(1.4)
    hard = np.median(EXPECTED) < EXPECTED
    apart = []
    for power in (1.0, power_of(found, EXPECTED, 0.9)):
        scores = found / raised(EXPECTED, power)
        inside = scores <= np.quantile(scores, 0.9)
        apart.append(abs(inside[hard].mean() - inside[~hard].mean()))
    assert apart[1] < apart[0] / 3


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (errors(1.4)[:100], EXPECTED[:100]),  # too few
        (np.full(4_000, 0.01), np.full(4_000, 0.02)),  # all alike
        (np.zeros(4_000), EXPECTED),
        (1 / EXPECTED, EXPECTED),  # the wrong way round
    ],
)
def test_where_nothing_can_be_learned_it_is_1(found, expected):
    assert power_of(found, expected, 0.9) == 1


def test_the_usual_error_stays():
    np.testing.assert_allclose(raised(np.array([0.03]), 1.5), 0.03)


def test_larger_errors_are_expected_where_they_were_larger():
    X = RANDOM.normal(size=(500, 3)).astype(np.float32)
    model = ExpectedError.fit(rows(X), np.where(X[:, 0] > 0, 0.2, 0.01))
    said = model.predict(np.array([[1, 0, 0], [-1, 0, 0]], np.float32))
    np.testing.assert_allclose(said, [0.2, 0.01], rtol=0.4)


@pytest.mark.parametrize("power", [0.9, 2.0, float("nan")])
def test_a_damaged_power_is_refused(power):
    model = ExpectedError.fit(rows(RANDOM.normal(size=(99, 2))), np.full(99, 0.1))
    with pytest.raises(ValueError, match="outside 1 to"):
        ExpectedError(model.logarithm, power)


def test_too_few_rows_to_split_leave_the_mean_of_the_logarithms():
    X = RANDOM.normal(size=(39, 3))
    fitted = ExpectedError.fit(rows(X), np.full(39, 0.02))
    np.testing.assert_allclose(fitted.predict(X.astype(np.float32)), 0.023, rtol=1e-6)
    assert fitted.n_features_needed == 1
    found = np.where(X[:, 0] > 0, 0.1, 0.01)
    told = ExpectedError.fit(rows(X), found).predict(X.astype(np.float32))
    np.testing.assert_allclose(np.log(told), np.log(found + 0.003).mean(), rtol=1e-6)
