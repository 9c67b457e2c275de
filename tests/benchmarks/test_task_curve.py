"""The learning curve in the number of tasks, on a made-up zoo."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.zoo.table import ZooTable, concatenate
from benchmarks import task_curve
from tests.synthetic import learnable_zoo


def table(n_runs: int, prefix: str, seed: int) -> ZooTable:
    """Return runs of two checkpoints, three runs on each task."""
    features, accuracies, runs = learnable_zoo(n_runs, 2, seed=seed)
    unknown = np.full(len(runs), np.nan)
    return ZooTable(
        features=features.astype(np.float32),
        feature_names=FEATURE_NAMES,
        paper_statistics=None,
        runs=runs,
        datasets=np.array([f"{prefix}-{k // 6}" for k in range(len(runs))]),
        steps=np.tile([0.0, 1.0], n_runs),
        accuracy=accuracies,
        loss=unknown,
        train_accuracy=unknown,
        train_loss=unknown,
        hyperparameters={},
        fingerprint="0",
    )


def test_more_tasks_are_better_and_real_data_is_never_fitted_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo, unseen, found = tmp_path / "zoo.npz", tmp_path / "unseen.npz", tmp_path / "curve.json"
    table(72, "universe", 0).save(zoo)
    table(30, "real", 1).save(unseen)
    options = ["--features", "weights", "--sizes", "8", "--draws", "2", "--json", str(found)]
    monkeypatch.setattr(sys, "argv", ["task_curve.py", str(zoo), str(unseen), *options])
    task_curve.main()
    entries = json.loads(found.read_text())
    assert [(e["tasks"], e["draw"], e["rows"]) for e in entries] == [
        (8, 0, 24),
        (8, 1, 24),
        (24, 0, 72),
    ]
    errors = task_curve.averaged(entries, "error")["weights"]
    assert errors[24] < errors[8]
    assert "| tasks | 8 | 24 |" in capsys.readouterr().out
    task_curve.draw(entries, tmp_path)
    assert (tmp_path / "task_curve.png").is_file()
    both = concatenate([table(6, "universe", 0), table(6, "real", 1)])
    assert set(task_curve.generated(both, "weights", 1).datasets) == {"universe-0", "universe-1"}
