"""Retraining from a fitted predictor: few runs correct its level, more correct all else."""

from __future__ import annotations

import numpy as np
import pytest

from accuracy_from_weights import AccuracyPredictor
from accuracy_from_weights.errors import ZooError
from tests.synthetic import learnable_zoo

CHECKPOINTS = 4


@pytest.fixture(scope="module")
def base() -> AccuracyPredictor:
    X, y, runs = learnable_zoo(60)
    return AccuracyPredictor(n_folds=3).fit(X, y, runs)


def other_task(n_runs: int, seed: int = 1):
    """Networks of a harder task: what was .9 is .5, and what was .2 is still .2."""
    X, y, runs = learnable_zoo(n_runs, CHECKPOINTS, seed)
    return X, 0.2 + 0.45 * (y - 0.2), runs


def error(predictor: AccuracyPredictor) -> float:
    X, y, _ = other_task(40, seed=7)
    return float(np.abs(predictor.predict(X) - y).mean())


def test_few_runs_correct_the_level(base):
    few = base.retrain(*other_task(4))
    assert few.state_.base is None
    assert error(few) < 0.7 * error(base)
    assert "quality" not in few.card_
    np.testing.assert_array_equal(
        np.argsort(few.predict(other_task(20)[0])), np.argsort(base.predict(other_task(20)[0]))
    )


@pytest.mark.parametrize("n_runs", [4, 12])
def test_retraining_reports_its_progress_to_the_end(base, n_runs):
    seen = []
    base.retrain(*other_task(n_runs), on_fold=lambda *numbers: seen.append(numbers))
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]


def test_thirty_runs_halve_the_error_and_cover_as_stated(base):
    retrained = base.retrain(*other_task(30))
    assert error(retrained) < 0.5 * error(base)
    X, y, _ = other_task(40, seed=7)
    low, high = retrained.predict_interval(X).T
    assert 0.8 <= ((low <= y) & (y <= high)).mean() <= 1
    quality = retrained.card_["quality"]
    assert quality["mean_absolute_error"] == pytest.approx(error(retrained), abs=0.02)


def test_runs_that_say_nothing_new_change_little(base):
    """Accuracies that scatter around the estimates give no reason to trust an ensemble."""
    X, _, runs = learnable_zoo(12, CHECKPOINTS, seed=3)
    scatter = np.random.default_rng(0).normal(0, 0.05, 12)[np.repeat(np.arange(12), CHECKPOINTS)]
    retrained = base.retrain(X, np.clip(base.predict(X) + scatter, 0, 1), runs)
    unseen = learnable_zoo(20, CHECKPOINTS, seed=4)[0]
    assert np.abs(retrained.predict(unseen) - base.predict(unseen)).mean() < 0.03


def test_the_file_holds_the_base(base, tmp_path):
    retrained = base.retrain(*other_task(12))
    retrained.save(tmp_path / "own.predictor")
    loaded = AccuracyPredictor.load(tmp_path / "own.predictor")
    X = other_task(5)[0]
    assert loaded.judge(X) == retrained.judge(X)
    assert loaded.card_["base"] == base.card_
    again = loaded.retrain(*other_task(12, seed=2))
    assert error(again) < 1.2 * error(retrained)


def test_diverged_networks_tell_what_untrained_means(base):
    X, y, runs = other_task(12)
    X[::CHECKPOINTS], y[::CHECKPOINTS] = np.nan, 0.07
    assert base.retrain(X, y, runs).predict(X[:1])[0] == pytest.approx(0.07)


def test_runs_without_a_finite_network_are_refused(base):
    X, y, runs = other_task(3)
    with pytest.raises(ZooError, match="no network with finite weights"):
        base.retrain(np.full_like(X, np.nan), y, runs)
