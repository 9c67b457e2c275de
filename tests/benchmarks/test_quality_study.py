"""The study of estimated against measured accuracy, run whole on a made-up zoo."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.zoo.table import ZooTable
from benchmarks.quality_study.picture import draw_all
from benchmarks.quality_study.report import blocks, numbers
from benchmarks.quality_study.splits import final_mask, make_splits, papers_networks
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


def test_only_the_papers_networks_on_real_data_are_taken(table: ZooTable) -> None:
    number = np.arange(len(table)) // N_CHECKPOINTS
    mixed = dataclasses.replace(
        table, datasets=np.where(number < 10, "universe-7", table.datasets).astype("<U10")
    )
    kept = papers_networks(mixed)
    assert set(kept.datasets) == {"one", "two"}
    assert set(kept.hyperparameters["family"]) == {"paper"}


def test_no_run_stands_on_both_sides(table: ZooTable) -> None:
    table = papers_networks(table)
    splits = make_splits(table, per_run=2)
    assert [(split.dataset, split.fold) for split in splits] == [
        (name, fold) for name in ("one", "two") for fold in range(3)
    ]
    for split in splits:
        assert not set(table.runs[split.train]) & set(table.runs[split.test])
        assert set(table.datasets[np.r_[split.train, split.test]]) == {split.dataset}
        assert np.unique(table.runs[split.train], return_counts=True)[1].max() == 2
        # The last checkpoint of a run is fitted on before any other.
        assert set(table.runs[split.train]) == set(
            table.runs[split.train[final_mask(table)[split.train]]]
        )


def test_the_command_measures_resumes_and_names_what_it_left_out(
    table: ZooTable, tmp_path: Path
) -> None:
    path, cache = tmp_path / "table.npz", tmp_path / "cache"
    table.save(path)
    outputs = [f"--json={tmp_path / 'q.json'}"]
    command = [sys.executable, str(ROOT / "benchmarks" / "quality.py"), str(path), *outputs]
    command += [f"--cache={cache}", "--folds=2"]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    fits = set(cache.rglob("output.pkl"))
    assert fits

    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert set(cache.rglob("output.pkl")) == fits, "all of it had been kept"

    found = json.loads((tmp_path / "q.json").read_text())
    assert {"WeightWatcher", "nfn", "ours, weights+probes"} <= found["left_out"].keys()
    scores = {(e["group"], e["column"]): e for e in found["scores"]}
    for dataset in ("one", "two"):
        value, low, high = scores[dataset, "ours, weights"]["r2"]
        assert low <= value <= high
        assert value > scores[dataset, "mean"]["r2"][0]
        assert "tau" not in scores[dataset, "mean"]
        assert 0 <= scores[dataset, "ours, weights"]["coverage"][0] <= 1
    assert "**ours, weights**" in blocks(found)["study same"]
    low, high = sorted(scores[name, "ours, weights"]["r2"][0] for name in ("one", "two"))
    assert numbers(found)["r2 same of weights range"] == f"{low:.2f} to {high:.2f}"
    draw_all(found, tmp_path / "pictures")
    drawn = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert drawn == {"study_same", "study_epochs"}
