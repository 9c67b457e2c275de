"""The study of estimated against measured accuracy, run whole on a made-up zoo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.features.feature_sets import feature_names
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
from accuracy_from_weights.zoo.table import ZooTable
from benchmarks.quality_study.ours import point_estimates
from benchmarks.quality_study.picture import draw_all
from benchmarks.quality_study.report import blocks, numbers
from benchmarks.quality_study.scoring import Said, anchored_scores, auroc
from benchmarks.quality_study.splits import final_mask, kinds_of, make_splits
from tests.synthetic import learnable_zoo

ROOT = Path(__file__).resolve().parents[2]
N_RUNS, N_CHECKPOINTS = 90, 3


@pytest.fixture(scope="module")
def table() -> ZooTable:
    """Two data sets of the paper's networks, and wild ones of two kinds on both."""
    features, accuracies, runs = learnable_zoo(N_RUNS, N_CHECKPOINTS)
    number = np.repeat(np.arange(N_RUNS), N_CHECKPOINTS)
    steps = np.tile(np.arange(N_CHECKPOINTS, dtype=float), N_RUNS)
    generator = np.random.default_rng(0)
    log = np.clip(accuracies + generator.normal(0, 0.05, len(runs)), 0, 1)
    statistics = generator.normal(size=(len(runs), 56)).astype(np.float32)
    is_wild = number % 5 > 2
    statistics[is_wild] = np.nan
    return ZooTable(
        features=features.astype(np.float32),
        feature_names=FEATURE_NAMES,
        paper_statistics=statistics,
        runs=runs,
        datasets=np.where(number % 2, "one", "two"),
        steps=steps,
        accuracy=accuracies,
        loss=np.full(len(runs), np.nan),
        train_accuracy=np.full(len(runs), np.nan),
        train_loss=np.full(len(runs), np.nan),
        hyperparameters={
            "family": np.where(is_wild, "wild", "paper"),
            "dnn_architecture": np.where(number % 5 == 4, "mlp", "cnn"),
            "learning_rate": generator.uniform(size=len(runs)),
            "optimizer": np.where(number % 3, "adam", "sgd"),
            "activation": np.full(len(runs), "relu"),
            "train_fraction": np.full(len(runs), 0.5),
            "label_noise": np.where(is_wild, 0.2, 0.0),
        },
        fingerprint="0" * 64,
        log_accuracy=np.where(steps == 0, np.nan, log),
        log_loss=np.where(steps == 0, np.nan, 1 - log),
    )


def test_no_run_stands_on_both_sides_and_what_is_left_out_is_left_out(table: ZooTable) -> None:
    splits = make_splits(table, per_run=2, most_rows=100)
    kinds = kinds_of(table)
    assert {s.part for s in splits} == {"same", "dataset", "kind", "pool", "curve", "mixed"}
    for split in splits:
        assert not set(table.runs[split.train]) & set(table.runs[split.test])
        assert len(split.train) <= 100
        assert np.unique(table.runs[split.train], return_counts=True)[1].max() <= 2
        # The last checkpoint of a run is fitted on before any other.
        assert set(table.runs[split.train]) == set(
            table.runs[split.train[final_mask(table)[split.train]]]
        )
        if split.part == "dataset":
            assert split.name not in table.datasets[split.train]
            assert set(table.datasets[split.test]) == {split.name}
        if split.part == "kind":
            assert split.name not in kinds[split.train]
    (cnn,) = (s for s in splits if s.part == "kind" and s.name == "cnn")
    assert "paper" not in kinds[cnn.train]


def test_point_estimates_are_the_predictors(table: ZooTable) -> None:
    features, accuracies, runs = table.features, table.accuracy, table.runs
    log = np.stack([table.log_accuracy, table.log_loss], axis=1).astype(np.float32)
    probes = np.zeros((len(runs), len(feature_names("weights+probes+log")) - features.shape[1] - 2))
    rows = np.concatenate([features, probes.astype(np.float32), log], axis=1)
    rows[4, 0] = np.nan  # a network that diverged
    rows[-1, 3] = np.nan
    half = len(rows) // 2
    predictor = AccuracyPredictor("weights+probes+log", n_folds=2)
    predictor.fit(rows[:half], accuracies[:half], groups=runs[:half])
    said, p_values = point_estimates(
        "weights+probes+log", rows[:half], accuracies[:half], runs[:half], rows[half:]
    )
    np.testing.assert_allclose(said, predictor.predict(rows[half:]), atol=1e-9)
    np.testing.assert_allclose(p_values, predictor.family_p_values(rows[half:]))


def test_auroc_is_one_for_a_perfect_sign_and_nan_without_errors() -> None:
    assert auroc(np.array([0.1, 0.2, 0.9]), np.array([False, False, True])) == 1.0
    assert auroc(np.array([0.5, 0.5, 0.5]), np.array([False, True, True])) == 0.5
    assert np.isnan(auroc(np.array([0.1, 0.2]), np.array([False, False])))


def test_truths_correct_a_level_that_is_off(table: ZooTable) -> None:
    off = np.clip(0.4 * table.accuracy, 0, 1)
    said = Said({"ours, weights": off}, {}, {})
    rows, tasks = final_mask(table), table.datasets
    three, ten = anchored_scores(table, said, rows, tasks, part="dataset", group="all")
    assert (three["column"], ten["column"]) == (
        "ours, weights + 3 truths",
        "ours, weights + 10 truths",
    )
    before = np.mean(np.abs(off - table.accuracy)[rows])
    assert ten["mean_absolute_error"][0] < three["mean_absolute_error"][0] < before
    assert ten["r2"][0] > 0.8


def test_the_command_measures_resumes_and_names_what_it_left_out(
    table: ZooTable, tmp_path: Path
) -> None:
    path, cache = tmp_path / "table.npz", tmp_path / "cache"
    table.save(path)
    outputs = [f"--json={tmp_path / 'q.json'}"]
    command = [sys.executable, str(ROOT / "benchmarks" / "quality.py"), str(path), *outputs]
    command += [f"--cache={cache}", "--interval-features=weights", "--interval-rows=90"]
    first = subprocess.run(
        [*command, "--parts", "same", "intervals"], capture_output=True, text=True
    )
    assert first.returncode == 0, first.stderr
    fits = set(cache.iterdir())

    again = subprocess.run([*command, "--parts", "same"], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert set(cache.iterdir()) == fits, "all of it had been kept"

    found = json.loads((tmp_path / "q.json").read_text())
    assert {"WeightWatcher", "nfn", "ours, weights+probes"} <= found["left_out"].keys()
    scores = {(e["group"], e["column"]): e for e in found["scores"] if e["part"] == "same"}
    for dataset in ("one", "two"):
        value, low, high = scores[dataset, "ours, weights"]["r2"]
        assert low <= value <= high
        assert value > scores[dataset, "mean"]["r2"][0]
        assert "tau" not in scores[dataset, "mean"]
    tables = blocks(found)
    assert "**ours, weights**" in tables["study same"]
    assert tables["study curve"] == "Not run."
    assert (
        numbers(found)["r2 same/one of weights"] == f"{scores['one', 'ours, weights']['r2'][0]:.2f}"
    )
    draw_all(found, tmp_path / "pictures")
    drawn = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert {"quality", "study_same", "study_epochs"} <= drawn
    assert "study_curve" not in drawn
    assert {e["column"] for e in found["within_recipe"]} >= {"training accuracy", "ours, weights"}
