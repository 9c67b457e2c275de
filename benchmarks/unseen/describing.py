"""Describe what was trained, as a callback describes an epoch, and put it into one table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.describing import describe_network
from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.features.feature_sets import FEATURE_SETS, LOG_NAMES
from accuracy_from_weights.features.probes.answers import PROBE_NAMES
from accuracy_from_weights.features.training_sample import SAMPLE_NAMES, take_sample
from accuracy_from_weights.zoo.table import ZooTable
from benchmarks.quality_study.weight_watcher import METRICS, metrics_of
from benchmarks.unseen.data import load_once
from benchmarks.unseen.runs import Run, of_run
from benchmarks.unseen.training import VALIDATED, models_of

WATCHED = tuple(f"WeightWatcher, {name}" for name in METRICS)
"""Columns of the last checkpoints' metrics, among the hyperparameters."""
_SEEN = 1_024
"""Training examples of which a callback chooses its sample."""


def describe(
    runs: Iterable[Run], folder: Path, images: Path | None, tell: Callable[[str], None]
) -> ZooTable:
    """Describe each checkpoint of the runs whose files are in a folder.

    Parameters
    ----------
    runs : iterable of Run
    folder : Path
        With the files that `training.train` wrote.
    images : Path or None
        As in `data.load`.
    tell : callable
        Takes a line about each run.

    Returns
    -------
    ZooTable
        With weights, probes, log and sample of every checkpoint.
    """
    rows: list[NDArray[np.float32]] = []
    about: list[dict[str, Any]] = []
    digest = hashlib.sha256()
    for run in runs:
        path = folder / f"{run.name}.npz"
        if not path.is_file():
            continue
        digest.update(path.read_bytes())
        data = of_run(run, load_once(run.data, images))
        sample = None
        for model, measured in models_of(run, data, path):
            if sample is None:
                sample = take_sample(model, data.x_train[:_SEEN], data.y_train[:_SEEN])
            log = {
                "accuracy": measured["log_accuracy"],
                "loss": measured["log_loss"],
                "samples": len(data.x_train),
            }
            rows.append(
                describe_network(
                    model,
                    FEATURE_SETS[-1],
                    input_shape=data.x_train.shape[1:],
                    log=log,
                    sample=sample,
                    task="binary" if run.is_binary else "multiclass",
                )[0]
            )
            about.append({"run": run, "samples": len(data.x_train), "data": data, **measured})
            about[-1]["watched"] = _watched(model if measured["step"] == run.epochs else None)
        tell(run.name)
    return _table(np.array(rows), about, digest.hexdigest())


def _watched(model: Any) -> NDArray[np.float64]:
    """Return WeightWatcher's metrics of a model; NaN for None, and where it is not installed."""
    if model is None or find_spec("weightwatcher") is None:
        return np.full(len(METRICS), np.nan)
    return metrics_of(model)


def _table(rows: NDArray[np.float32], about: list[dict[str, Any]], fingerprint: str) -> ZooTable:
    ends = np.cumsum([len(FEATURE_NAMES), len(PROBE_NAMES), len(LOG_NAMES), len(SAMPLE_NAMES)])
    weights, probes, _, sample, _ = np.split(rows, ends, axis=1)
    measured = {
        name: np.array([float(one[name]) for one in about])
        for name in ("accuracy", "loss", "train_accuracy", "train_loss", "log_accuracy", "log_loss")
    }
    runs: list[Run] = [one["run"] for one in about]
    return ZooTable(
        features=weights,
        feature_names=FEATURE_NAMES,
        paper_statistics=None,
        probes=probes,
        sample=sample,
        runs=np.array([run.name for run in runs]),
        datasets=np.array([run.data for run in runs]),
        steps=np.array([float(one["step"]) for one in about]),
        hyperparameters={
            "family": np.array([run.framework for run in runs]),
            "dnn_architecture": np.array([run.network for run in runs]),
            "input_kind": np.array([one["data"].kind for one in about]),
            "n_classes": np.array([float(one["data"].n_classes) for one in about]),
            "n_train": np.array([float(one["samples"]) for one in about]),
            "n_test": np.array([float(len(one["data"].x_test)) for one in about]),
            "epochs": np.array([float(run.epochs) for run in runs]),
            "label_noise": np.array([run.noise for run in runs]),
            "optimizer": np.array([run.optimizer for run in runs]),
            "regime": np.array([run.regime for run in runs]),
            VALIDATED: np.array([one.get(VALIDATED, np.nan) for one in about]),
            **dict(zip(WATCHED, np.array([one["watched"] for one in about]).T, strict=True)),
        },
        fingerprint=fingerprint,
        **measured,
    )
