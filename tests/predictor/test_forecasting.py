from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accuracy_from_weights import AccuracyPredictor
from accuracy_from_weights.errors import InvalidArgumentError, ZooError
from accuracy_from_weights.predictor.fit_rows import final_accuracies
from tests.synthetic import learnable_zoo, network

CHECKPOINTS = 4
PROGRESS = np.arange(CHECKPOINTS) / (CHECKPOINTS - 1)


def courses(n_runs: int, seed: int):
    """Runs whose weights grow in a straight line, and accuracy with them."""
    X, accuracies, runs = learnable_zoo(n_runs, CHECKPOINTS, seed)
    progress = np.tile(PROGRESS, n_runs)
    return X, progress, accuracies, final_accuracies(accuracies, progress, runs), runs


@pytest.fixture(scope="module")
def fitted() -> AccuracyPredictor:
    X, progress, accuracies, _, runs = courses(60, seed=0)
    return AccuracyPredictor(n_folds=3).fit(X, accuracies, runs, progress=progress)


@pytest.fixture(scope="module")
def unseen():
    return courses(40, seed=1)


def numbers(estimates) -> np.ndarray:
    return np.array([(e.accuracy, e.low, e.high) for e in estimates])


def test_foresees_what_a_young_run_will_reach(fitted, unseen):
    X, progress, now, ends, _ = unseen
    young = progress == PROGRESS[1]
    forecast = numbers(fitted.judge(X[young], progress[young], "final"))[:, 0]
    stays = np.abs(now - ends)[young].mean()
    assert np.abs(forecast - ends[young]).mean() < 0.75 * stays
    assert np.corrcoef(forecast, ends[young])[0, 1] > 0.3


def test_intervals_hold_for_unseen_runs_about_as_often_as_stated(fitted, unseen):
    X, progress, _, ends, _ = unseen
    young = progress < 1
    low, high = numbers(fitted.judge(X[young], progress[young], "final"))[:, 1:].T
    covered = ((low <= ends[young]) & (ends[young] <= high)).mean()
    assert 0.8 <= covered <= 0.99
    at_start, later = ((high - low)[progress[young] == PROGRESS[k]].mean() for k in (0, 2))
    assert later < 0.8 * at_start


def test_at_the_end_the_forecast_is_the_estimate(fitted, unseen):
    X = unseen[0][:8]
    assert fitted.judge(X, 1.0, "final") == fitted.judge(X)
    assert fitted.judge(X, 0.3, "final") != fitted.judge(X)


def test_the_same_weights_promise_more_early_than_late(fitted, unseen):
    X, progress, *_ = unseen
    middle = X[progress == PROGRESS[1]]
    early, late = (numbers(fitted.judge(middle, p, "final"))[:, 0] for p in (0.2, 0.7))
    assert early.mean() > late.mean()


def test_the_card_states_the_forecast_s_worth_on_runs_left_out(fitted):
    worth = fitted.card_["forecast"]
    assert worth["mean_absolute_error"] < 0.75 * worth["if_it_stayed"]
    assert worth["coverage"] == pytest.approx(0.9, abs=0.08)
    assert json.loads(json.dumps(worth)) == worth


def test_comes_back_from_a_file_with_the_same_forecasts(fitted, unseen, tmp_path):
    X, progress, *_ = unseen
    fitted.save(tmp_path / "p")
    back = AccuracyPredictor.load(tmp_path / "p")
    asked = X, progress, "final"
    assert back.judge(*asked) == fitted.judge(*asked)
    assert back.card_["forecast"] == fitted.card_["forecast"]


def test_one_network_and_an_anchor(fitted):
    one = network(np.random.default_rng(7), scale=0.6)
    plain = fitted.estimate(one, horizon="final", progress=0.25)
    assert plain.low <= plain.accuracy <= plain.high
    generator = np.random.default_rng(0)
    known = [network(generator, scale=scale) for scale in (0.4, 0.8, 1.2, 1.6)]
    truths = [0.4 * estimate.accuracy for estimate in map(fitted.estimate, known)]
    anchored = fitted.anchor(known, truths).estimate(one, horizon="final", progress=0.25)
    assert anchored.accuracy < plain.accuracy


def test_a_diverged_network_is_forecast_to_have_learned_nothing(fitted, unseen):
    X = unseen[0][:2].copy()
    X[0, 5] = np.nan
    forecast = fitted.judge(X, [0.5, 0.5], "final")
    assert forecast[0].condition == "diverged"
    assert forecast[0] == fitted.judge(X)[0]


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.floats(0, 1), st.floats(-6, 6))
def test_forecasts_are_fractions_within_their_intervals(fitted, seed, progress, exponent):
    X = np.random.default_rng(seed).normal(0, 10.0**exponent, (3, fitted.n_features_in_))
    accuracy, low, high = numbers(fitted.judge(X, progress, "final")).T
    assert (low >= 0).all()
    assert (low <= accuracy).all()
    assert (accuracy <= high).all()
    assert (high <= 1).all()


@pytest.mark.parametrize("progress", [None, 1.5, -0.1, np.nan, [0.5, 0.5, 0.5]])
def test_a_progress_that_is_none_is_told(fitted, unseen, progress):
    with pytest.raises(InvalidArgumentError, match="progress="):
        fitted.judge(unseen[0][:2], progress, "final")


def test_other_misuse_is_told(fitted, unseen):
    X, progress, accuracies, _, runs = unseen
    with pytest.raises(InvalidArgumentError, match=r"horizon=.next week"):
        fitted.judge(X[:2], 0.5, "next week")
    with pytest.raises(ZooError, match="share of its run"):
        AccuracyPredictor(n_folds=2).fit(X, accuracies, runs, progress=10 * progress)


def test_a_predictor_without_courses_says_that_it_cannot_forecast(unseen):
    X, _, accuracies, _, _ = unseen
    one_each = AccuracyPredictor(n_folds=2).fit(X[3::4], accuracies[3::4], progress=np.ones(40))
    assert "forecast" not in one_each.card_
    with pytest.raises(InvalidArgumentError, match="on runs with several"):
        one_each.judge(X[:2], 0.5, "final")


def test_ends_are_those_of_each_run_in_whatever_order_the_rows_stand():
    ends = final_accuracies([0.9, 0.1, 0.4, 0.2], [1, 0, 1, 0], list("baab"))
    assert ends.tolist() == [0.9, 0.4, 0.4, 0.9]


def test_a_run_that_diverged_ends_where_it_began():
    assert final_accuracies([0.6, 0.1, 0.7], [0.1, 0, 0.2], list("aaa")).tolist() == [0.1] * 3
