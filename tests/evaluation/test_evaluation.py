"""Scores, their bootstrap intervals, folds by run, and baselines."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.evaluation import (
    BASELINES,
    OURS,
    cross_validate,
    format_evaluations,
    kendall_tau,
    score,
    score_predictor,
    tie_ceiling,
)
from accuracy_from_weights.evaluation.baselines import hyperparameters_and_epoch
from accuracy_from_weights.predictor.folds import group_folds, last_rows
from accuracy_from_weights.zoo.table import ZooTable

SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)


class Interval(RegressorMixin, BaseEstimator):
    """A scikit-learn regressor with the parts of AccuracyPredictor that an evaluation calls."""

    features = "weights"

    def __init__(self, regressor=None, width=0.1, coverage=0.9):
        self.regressor = regressor
        self.width = width
        self.coverage = coverage

    def fit(self, X, y, groups=None, tasks=None, domains=None, on_fold=None):
        self.fitted_ = (self.regressor or LinearRegression()).fit(X, y)
        for done in range(3 if on_fold else 0):
            on_fold(done, 2)
        return self

    def predict(self, X):
        return self.fitted_.predict(X)

    def predict_interval(self, X):
        centre = self.predict(X)
        return np.column_stack([centre - self.width / 2, centre + self.width / 2])


def make_table(n_runs=30, datasets=("digits",), seed=0, **changes):
    """A table in which one feature tells the accuracy and the others are noise."""
    rng = np.random.default_rng(seed)
    steps = np.tile([0.0, 1.0, 5.0], n_runs * len(datasets))
    runs = np.repeat([f"run{i}" for i in range(n_runs * len(datasets))], 3)
    speed = np.repeat(rng.uniform(size=n_runs * len(datasets)), 3)
    accuracy = 0.1 + 0.8 * speed * (1 - np.exp(-steps))
    n = len(runs)
    features = np.column_stack([accuracy, rng.normal(size=(n, 2))]).astype(np.float32)
    values = {
        "features": features,
        "feature_names": ("telling", "noise", "more noise"),
        "paper_statistics": rng.normal(size=(n, 56)).astype(np.float32),
        "runs": runs,
        "datasets": np.repeat(datasets, n_runs * 3),
        "steps": steps,
        "accuracy": accuracy,
        "loss": 1 - accuracy,
        "train_accuracy": accuracy + 0.01 * rng.normal(size=n),
        "train_loss": np.full(n, np.nan),
        "hyperparameters": {
            "learning_rate": speed,
            "optimizer": np.where(speed > 0.5, "adam", "sgd"),
            "random_seed": np.arange(n, dtype=float),
            "constant": np.full(n, 3.0),
        },
        "fingerprint": "0" * 64,
    }
    return ZooTable(**{**values, **changes})


class TestScores:
    def test_r2_of_a_constant_truth_is_not_defined(self):
        found = score("x", [0.1, 0.1], [0.1, 0.2], ["a", "b"])
        assert math.isnan(found.r2.value)

    def test_a_constant_ranks_nothing(self):
        assert math.isnan(kendall_tau([0.1, 0.2, 0.3], [0.5, 0.5, 0.5]))

    @SETTINGS
    @given(st.lists(st.integers(0, 5), min_size=2, max_size=30))
    def test_the_ceiling_is_the_tau_of_an_order_that_splits_the_ties(self, truth):
        ceiling = tie_ceiling(truth)
        if len(set(truth)) == 1:
            assert ceiling == 0
            return
        perfect = np.empty(len(truth))
        perfect[np.argsort(truth, kind="stable")] = np.arange(len(truth))
        assert ceiling == pytest.approx(stats.kendalltau(truth, perfect).statistic)

    @SETTINGS
    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=12))
    def test_weights_count_pairs_of_different_rows_only(self, rows):
        truth, weights = np.array(rows).T
        pairs = tied = 0
        for i, j in itertools.combinations(range(len(truth)), 2):
            pairs += weights[i] * weights[j]
            tied += weights[i] * weights[j] * (truth[i] == truth[j])
        found = tie_ceiling(truth, weights)
        if pairs == 0:
            assert math.isnan(found)
        else:
            assert found == pytest.approx(math.sqrt(1 - tied / pairs))

    def test_a_perfect_prediction_reaches_the_ceiling(self):
        truth = np.r_[np.full(50, 0.1), np.linspace(0.2, 0.9, 50)]
        predicted = truth + np.linspace(0, 1e-6, 100)
        found = score("perfect", truth, predicted, np.arange(100))
        assert found.tau.value < 0.9
        assert found.tau_over_ceiling.value == pytest.approx(1.0)

    def test_coverage_width_and_error(self):
        bounds = np.array([[0.0, 0.2], [0.3, 0.4], [0.5, 0.9], [0.9, 1.0]])
        found = score("x", [0.1, 0.2, 0.5, 1.0], [0.1, 0.35, 0.7, 0.95], list("abcd"), bounds)
        assert found.coverage.value == 0.75
        assert found.width.value == pytest.approx(0.2)
        assert found.mean_absolute_error.value == pytest.approx(0.1)
        assert (found.n_rows, found.n_runs) == (4, 4)


class TestBootstrap:
    def test_copies_within_a_run_teach_nothing(self):
        rng = np.random.default_rng(1)
        truth = rng.uniform(size=40)
        predicted = truth + 0.1 * rng.normal(size=40)
        runs = np.arange(40)
        once = score("x", truth, predicted, runs)
        tenfold = score("x", *(np.repeat(a, 10) for a in (truth, predicted, runs)))
        assert tenfold.r2.low == pytest.approx(once.r2.low)
        assert tenfold.r2.high == pytest.approx(once.r2.high)
        by_row = score("x", np.repeat(truth, 10), np.repeat(predicted, 10), np.arange(400))
        assert by_row.r2.high - by_row.r2.low < 0.6 * (once.r2.high - once.r2.low)

    def test_holds_the_value_and_repeats_itself(self):
        rng = np.random.default_rng(2)
        truth, predicted = rng.uniform(size=(2, 60))
        first, second = (score("x", truth, predicted, np.arange(60) // 3) for _ in range(2))
        assert first == second
        for found in (first.r2, first.tau, first.tau_over_ceiling, first.mean_absolute_error):
            assert found.low < found.value < found.high

    def test_zero_resamples_give_no_interval(self):
        found = score("x", [0.1, 0.2], [0.1, 0.3], ["a", "b"], n_resamples=0)
        assert math.isnan(found.r2.low)


class TestFolds:
    @SETTINGS
    @given(
        st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=60).filter(
            lambda runs: len(set(runs)) >= 4
        ),
        st.integers(2, 4),
        st.integers(0, 3),
    )
    def test_no_run_stands_on_both_sides(self, runs, n_folds, seed):
        runs = np.array(runs)
        folds = group_folds(runs, n_folds, seed)
        for train, test in folds:
            assert not set(runs[train]) & set(runs[test])
            assert len(train) + len(test) == len(runs)
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(runs)))

    def test_the_seed_shuffles(self):
        runs = np.arange(40)
        assert set(group_folds(runs, 4, 0)[0][1]) != set(group_folds(runs, 4, 1)[0][1])

    def test_too_few_runs(self):
        with pytest.raises(ZooError, match="3 runs or tasks cannot be split into 5 folds"):
            group_folds(["a", "b", "c", "a"], 5)

    def test_last_rows(self):
        runs, steps = ["b", "a", "b", "a", "c"], [0, 9, 4, 2, 1]
        assert np.flatnonzero(last_rows(runs, steps)).tolist() == [1, 2, 4]
        assert np.flatnonzero(last_rows(runs)).tolist() == [2, 3, 4]


class TestCrossValidate:
    def test_each_baseline_gets_what_it_deserves(self):
        (evaluation,) = cross_validate(make_table(60), Interval(), n_folds=2)
        found = {scores.name: scores for scores in evaluation.all_checkpoints}
        assert list(found)[-1] == OURS
        assert found[OURS].r2.value > 0.999
        assert found[OURS].coverage.value == 1.0
        assert found["training accuracy"].r2.value > 0.95
        assert found["hyperparameters + epoch"].r2.value > 0.9
        assert 0.2 < found["epoch number"].r2.value < 0.9
        assert found["mean"].r2.value < 0.01
        assert found["paper's 56 statistics, trees"].r2.value < 0.3
        assert "training loss" not in found, "the zoo does not know it"
        assert math.isnan(found["mean"].tau.value)

    def test_final_checkpoints_are_one_a_run(self):
        (evaluation,) = cross_validate(make_table(), Interval(), baselines=())
        (all_rows,), (finals,) = evaluation.all_checkpoints, evaluation.final_checkpoints
        assert (all_rows.n_rows, finals.n_rows, finals.n_runs) == (90, 30, 30)

    def test_remembering_runs_does_not_help(self):
        rng = np.random.default_rng(3)
        runs = np.repeat([f"run{i}" for i in range(40)], 3)
        fate = np.repeat(rng.uniform(size=40), 3)
        identity = np.repeat(rng.normal(size=(40, 3)), 3, axis=0).astype(np.float32)
        table = make_table(40, features=identity, runs=runs, accuracy=fate)
        nearest = Interval(KNeighborsRegressor(1))
        (evaluation,) = cross_validate(table, nearest, baselines=())
        assert evaluation.all_checkpoints[0].r2.value < 0.1

    def test_rows_without_accuracy_are_left_out(self):
        table = make_table()
        accuracy = table.accuracy.copy()
        accuracy[:3] = np.nan
        (evaluation,) = cross_validate(
            make_table(accuracy=accuracy), Interval(), baselines=BASELINES[:1]
        )
        assert evaluation.all_checkpoints[0].n_rows == 87

    def test_hold_out_a_data_set(self):
        table = make_table(datasets=("a", "b"))
        features = table.features.copy()
        features[table.datasets == "b", 0] += 5
        shifted = make_table(datasets=("a", "b"), features=features)
        by_run = cross_validate(shifted, Interval(), baselines=())
        by_dataset = cross_validate(shifted, Interval(), hold_out="dataset", baselines=())
        assert [evaluation.dataset for evaluation in by_dataset] == ["a", "b"]
        assert min(e.all_checkpoints[0].r2.value for e in by_run) > 0.99
        assert max(e.all_checkpoints[0].r2.value for e in by_dataset) < 0

    def test_hold_out_tasks_in_folds(self):
        """Every network is scored once, by a predictor that saw no network of its task."""
        table = make_table()
        n = len(np.unique(table.runs))
        _, run = np.unique(table.runs, return_inverse=True)
        names = np.array([f"task {k % 6}" for k in range(n)])[run]
        table = dataclasses.replace(table, hyperparameters={"task": names})
        tested = []

        def inspect(name, predictor, features, rows):
            assert name == "all tasks"
            tested.append(rows)

        (evaluation,) = cross_validate(
            table, Interval(), n_folds=3, hold_out="task", baselines=(), inspect=inspect
        )
        assert evaluation.protocol == "3-fold by task"
        assert sorted(np.concatenate(tested)) == list(range(len(table)))
        for rows in tested:
            assert len(set(table.tasks[rows])) == 2

    @pytest.mark.parametrize("hold_out", ["run", "dataset"])
    def test_fitted_clones_can_be_inspected(self, hold_out):
        table = make_table(datasets=("a", "b"))
        seen = []

        def inspect(dataset, model, features, rows):
            assert features.shape == table.features.shape
            found = model.predict(features[rows])
            np.testing.assert_allclose(found, table.accuracy[rows], atol=1e-4)
            seen.append((dataset, rows))

        cross_validate(
            table, Interval(), n_folds=3, hold_out=hold_out, baselines=(), inspect=inspect
        )
        assert len(seen) == (6 if hold_out == "run" else 2)
        assert all((table.datasets[rows] == dataset).all() for dataset, rows in seen)
        assert sorted(np.concatenate([rows for _, rows in seen])) == list(range(len(table)))

    def test_one_data_set_cannot_be_held_out(self):
        with pytest.raises(ZooError, match="needs at least two of them"):
            cross_validate(make_table(), Interval(), hold_out="dataset")

    def test_progress_ends_at_the_total(self):
        seen = []
        cross_validate(
            make_table(),
            Interval(),
            n_folds=3,
            baselines=BASELINES[:2],
            progress=lambda done, total: seen.append((done, total)),
        )
        done, totals = np.transpose(seen)
        assert set(totals) == {done[-1]}
        assert done[0] == 0
        assert (np.diff(done) >= 0).all()
        assert len(set(done)) == 1 + 2 * 3 + 2 * 3, "a step a baseline's fit, two a fit of ours"


def test_a_given_predictor_is_scored_on_all_networks():
    fitted = Interval().fit(make_table(seed=5).features, make_table(seed=5).accuracy)
    (evaluation,) = score_predictor(make_table(), fitted)
    names = [scores.name for scores in evaluation.all_checkpoints]
    assert names == ["training accuracy as logged", OURS]
    assert evaluation.all_checkpoints[1].r2.value > 0.999


class TestHyperparameters:
    def test_seeds_and_constants_are_left_out(self):
        inputs = hyperparameters_and_epoch(make_table())
        assert inputs.values.shape[1] == 3  # learning rate, optimiser, epoch
        assert inputs.categorical == (1,)

    def test_names_of_single_runs_are_no_choice(self):
        names = np.array([f"network {i}" for i in range(900)])
        table = make_table(300, hyperparameters={"name": names})
        assert hyperparameters_and_epoch(table) is None


def test_the_table_names_everything_and_is_json():
    evaluations = cross_validate(make_table(), Interval(), baselines=BASELINES[:2])
    text = format_evaluations(evaluations)
    for part in ("digits: 90 checkpoints of 30 runs", "Final checkpoints", "tau/ceiling", OURS):
        assert part in text
    assert max(map(len, text.splitlines())) < 130
    parsed = json.loads(json.dumps([evaluation.as_dict() for evaluation in evaluations]))
    assert parsed[0]["all_checkpoints"][0]["tau"]["value"] is None
