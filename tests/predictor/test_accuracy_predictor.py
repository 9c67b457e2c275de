from __future__ import annotations

import dataclasses
import json
import pickle
import zipfile

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, cross_validate

from accuracy_from_weights import AccuracyPredictor, load_predictor
from accuracy_from_weights.errors import (
    AccuracyFromWeightsError,
    AccuracyFromWeightsWarning,
    InvalidArgumentError,
    UnreadableFileError,
    ZooError,
)
from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.predictor.fit_rows import FitRows, FitSettings
from accuracy_from_weights.predictor.models.ensemble import Ensemble
from tests.synthetic import learnable_zoo, network


@pytest.fixture(scope="module")
def zoo():
    return learnable_zoo(40)


@pytest.fixture(scope="module")
def fitted(zoo) -> AccuracyPredictor:
    X, y, runs = zoo
    return AccuracyPredictor(n_folds=4).fit(X, y, runs)


def test_learns_what_can_be_learned_and_covers_as_stated(fitted):
    X, y, _ = learnable_zoo(40, seed=1)
    assert np.abs(fitted.predict(X) - y).mean() < 0.06 < np.abs(y - y.mean()).mean()
    intervals = fitted.predict_interval(X)
    covered = ((intervals[:, 0] <= y) & (y <= intervals[:, 1])).mean()
    assert 0.8 <= covered <= 0.99
    assert fitted.in_family(X).mean() > 0.9


def test_the_card_states_quality_on_runs_left_out(fitted, zoo):
    quality = fitted.card_["quality"]
    X, y, _ = zoo
    seen = np.abs(fitted.predict(X) - y).mean()
    assert quality["mean_absolute_error"] > seen
    assert quality["r2"] > 0.8
    assert abs(quality["coverage"] - 0.9) < 0.08
    assert json.loads(json.dumps(fitted.card_)) == fitted.card_


def test_outside_a_family_that_showed_no_strangers_an_interval_promises_nothing(fitted, zoo):
    X = zoo[0][:3] + 100
    assert not fitted.in_family(X).any()
    np.testing.assert_array_equal(fitted.predict_interval(X), [[0, 1]] * 3)


def test_wider_intervals_for_more_coverage_on_request(fitted, zoo):
    X = zoo[0][:20]
    half, most = (np.ptp(fitted.predict_interval(X, c), axis=1) for c in (0.5, 0.95))
    assert (half < most).all()


def test_scikit_learn_manners(zoo):
    X, y, runs = zoo
    predictor = AccuracyPredictor(n_folds=2, random_state=3)
    assert clone(predictor).get_params() == predictor.get_params()
    scores = cross_validate(predictor, X, y, groups=runs, cv=GroupKFold(2))["test_score"]
    assert (scores > 0.5).all()
    with pytest.raises(NotFittedError):
        predictor.predict(X)


def test_equal_seeds_give_equal_predictors(zoo):
    X, y, runs = (part[:60] for part in zoo)
    a, b = (AccuracyPredictor(n_folds=2).fit(X, y, runs).predict(X) for _ in range(2))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_each_fold_is_counted_as_it_is_done(n_jobs):
    seen = []
    X, y, runs = learnable_zoo(12, 3)
    AccuracyPredictor(n_folds=3, n_jobs=n_jobs).fit(
        X,
        y,
        runs,
        progress=np.tile([0, 0.5, 1], 12),
        on_fold=lambda *numbers: seen.append(numbers),
    )
    n_forecast, n_last = 4, 1
    assert seen[0] == (0, 3 + n_forecast + n_last)
    assert [done for done, _ in seen[:4]] == [0, 1, 2, 3]
    assert seen[-1][0] == seen[-1][1]


def test_fits_and_judges_networks_themselves():
    generator = np.random.default_rng(0)
    scales = np.linspace(0.3, 2, 24)
    states = [
        {
            name: array
            for k, layer in enumerate(network(generator, scale=scale).layers)
            for name, array in ((f"{k}.weight", layer.kernel), (f"{k}.bias", layer.bias))
        }
        for scale in scales
    ]
    predictor = AccuracyPredictor(n_folds=3).fit(states, scales / 2)
    low, high = (predictor.estimate(states[k]) for k in (0, -1))
    assert low.accuracy < high.accuracy
    assert 0 <= low.low <= low.accuracy <= low.high <= 1


def test_a_stranger_is_estimated_with_a_warning(fitted):
    stranger = network(np.random.default_rng(0), ((300, 784), (100, 300), (10, 100)))
    with pytest.warns(AccuracyFromWeightsWarning, match="unlike those"):
        estimate = fitted.estimate(stranger)
    assert not estimate.in_family
    assert 0 <= estimate.low <= estimate.accuracy <= estimate.high <= 1
    assert "outside the family" in str(estimate)


def test_a_diverged_network_gets_the_estimate_of_an_untrained_one(fitted, zoo):
    weights = network(np.random.default_rng(0))
    weights.layers[1].kernel[0, 0] = np.nan
    with pytest.warns(AccuracyFromWeightsWarning, match="diverged"):
        estimate = fitted.estimate(weights)
    y = zoo[1]
    assert estimate.condition == "diverged"
    assert y.min() <= estimate.accuracy <= np.quantile(y, 0.1)
    assert not estimate.in_family


def test_diverged_rows_of_a_zoo_tell_what_untrained_means(zoo):
    X, y, runs = (part.copy() for part in zoo)
    X[::10], y[::10] = np.nan, 0.07
    predictor = AccuracyPredictor(n_folds=2).fit(X, y, runs)
    assert predictor.predict(X[:1])[0] == pytest.approx(0.07)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y, g: (X, 100 * y, g), "divide percentages by 100"),
        (lambda X, y, g: (X, np.where(y == y.max(), np.nan, y), g), "or hold NaN"),
        (lambda X, y, g: (X, y[:-1], g), "do not belong together"),
        (lambda X, y, g: (X, y, np.arange(len(y)) % 3), "too few for a predictor"),
        (lambda X, y, g: (np.full_like(X, np.nan), y, g), "too few for a predictor"),
    ],
)
def test_a_zoo_that_cannot_be_learned_from_is_refused(zoo, change, message):
    with pytest.raises(ZooError, match=message):
        AccuracyPredictor().fit(*change(*zoo))


@pytest.mark.parametrize("X", [3, "model.pt", [], np.zeros(5), {"a": 1}])
def test_neither_features_nor_networks(fitted, X):
    with pytest.raises(InvalidArgumentError, match="pass an array of shape"):
        fitted.predict(X)


def test_another_number_of_features_is_refused(fitted):
    with pytest.raises(InvalidArgumentError, match=f"reads {len(FEATURE_NAMES)}"):
        fitted.predict(np.zeros((2, 7)))


def test_saved_and_loaded_it_says_the_same(fitted, zoo, tmp_path):
    path = tmp_path / "own.predictor"
    fitted.save(path)
    for loaded in (AccuracyPredictor.load(path), load_predictor(path)):
        assert loaded.judge(zoo[0]) == fitted.judge(zoo[0])
        assert loaded.get_params() == fitted.get_params()
        assert loaded.card_["quality"] == fitted.card_["quality"]
        loaded.save(tmp_path / "again.predictor")


def test_the_file_holds_nothing_that_runs(fitted, tmp_path):
    path = tmp_path / "own.predictor"
    fitted.save(path)
    with np.load(path, allow_pickle=False) as archive:
        assert all(archive[name].dtype.kind in "fiu" for name in archive.files)


def rewritten(source, target, change) -> None:
    """Copy a predictor file, with its members passed through `change(name, bytes)`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)


@pytest.mark.parametrize(
    "change",
    [
        lambda name, content: None if name == "smooth.heights.npy" else content,
        lambda name, content: None if name == "facts.npy" else content,
        lambda name, content: content[: len(content) // 2] if "boosted.left" in name else content,
        lambda name, content: content.replace(b'"format_version": 1', b'"format_version": 9'),
        lambda name, content: content.replace(
            b"accuracy-from-weights pred", b"something else....."
        ),
        lambda name, content: content.replace(b'"coverage": 0.9', b'"coverage": "a"'),
        lambda name, content: content.replace(b"layers.mean.first", b"layers.none.first"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(fitted, tmp_path, change):
    good, bad = tmp_path / "good.predictor", tmp_path / "bad.predictor"
    fitted.save(good)
    rewritten(good, bad, change)
    with pytest.raises(AccuracyFromWeightsError, match=r"bad.predictor is .*retrain`"):
        AccuracyPredictor.load(bad)


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({"a": 1}), b"PK\x03\x04" * 99])
def test_what_is_no_predictor_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match="is not a predictor file"):
        load_predictor(path)


def test_a_pickle_inside_is_never_loaded(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, facts=np.array([print], dtype=object))
    with pytest.raises(UnreadableFileError):
        load_predictor(path)


def test_missing_file_and_unwritable_folder(fitted, tmp_path):
    with pytest.raises(UnreadableFileError, match="does not exist"):
        load_predictor(tmp_path / "none")
    with pytest.raises(AccuracyFromWeightsError, match="choose a folder that exists"):
        fitted.save(tmp_path / "nowhere" / "own.predictor")


def test_a_predictor_picks_the_features_that_it_was_fitted_on_by_name(zoo, tmp_path):
    """So that features can be added, and predictors of fewer still serve."""
    X, y, runs = zoo
    kept = [k for k in range(len(FEATURE_NAMES)) if k % 3]
    old = AccuracyPredictor(n_folds=2).fit(X[:, kept], y, runs)
    names = tuple(FEATURE_NAMES[k] for k in kept)
    old.state_ = dataclasses.replace(old.state_, names=names)
    old.save(tmp_path / "old.predictor")
    loaded = load_predictor(tmp_path / "old.predictor")
    np.testing.assert_array_equal(loaded.predict(X), old.predict(X[:, kept]))


def test_the_shipped_predictor_loads_and_knows_an_untrained_network():
    predictor = load_predictor()
    assert predictor.card_["quality"]["by_domain"]["paper cnn"]["r2"] > 0.6
    weights = network(np.random.default_rng(0))
    for layer in weights.layers:
        layer.bias[:] = 0
    estimate = predictor.estimate(weights)
    assert estimate.in_family
    assert estimate.accuracy < 0.2


def test_with_tasks_everything_goes_by_task(zoo):
    X, y, runs = zoo
    _, run = np.unique(runs, return_inverse=True)
    tasks = np.minimum(run // 2, 9)  # ten tasks, the last one with half of the runs
    fitted = AccuracyPredictor(n_folds=5).fit(X, y, runs, tasks=tasks)
    assert fitted.card_["quality"]["protocol"] == "5-fold by task, all checkpoints"
    assert fitted.card_["n_tasks"] == 10
    by_run = AccuracyPredictor(n_folds=5).fit(X, y, runs, tasks=tasks % 5)
    assert by_run.card_["quality"]["protocol"] == "5-fold by run, all checkpoints"
    with pytest.raises(ZooError, match="`tasks` of length 3"):
        AccuracyPredictor().fit(X, y, runs, tasks=["a", "b", "c"])


def test_a_task_weighs_by_its_runs_but_no_more_than_a_hundred_usual_ones():
    n_rows = (500, 10, 2, 2, 2, 2, 2, 2, 2)
    tasks = np.repeat(np.arange(9), n_rows)
    n = len(tasks)
    X, y = np.zeros((n, 3), np.float32), np.full(n, 0.5)
    rows = FitRows.of(X, y, guess=np.zeros(n), tasks=tasks)
    assert rows.weights.mean() == pytest.approx(1)
    sums = np.bincount(tasks, rows.weights)
    np.testing.assert_allclose(sums / sums[-1], [100, 5, 1, 1, 1, 1, 1, 1, 1])
    # Two checkpoints of one run are not two runs.
    pairs = FitRows.of(X, y, guess=np.zeros(n), tasks=tasks, runs=np.arange(n) // 2)
    sums = np.bincount(tasks, pairs.weights)
    np.testing.assert_allclose(sums / sums[-1], [100, 5, 1, 1, 1, 1, 1, 1, 1])


def test_weights_count_in_the_fit():
    """Where features say nothing, the models start at the weighted mean."""
    y = np.repeat([0.2, 0.8], [300, 30])
    X = np.random.default_rng(0).normal(size=(330, 4)).astype(np.float32)
    weights = np.repeat([1.0, 10.0], [300, 30])
    rows = FitRows.of(X, y, guess=np.zeros(330), sample_weight=weights)
    ensemble = Ensemble.fit(rows, FitSettings())
    assert abs(ensemble.boosted.constant) < 0.05  # the logit of a half
    assert ensemble.randomised.predict(X).mean() > y.mean() + 0.02
