"""Zoos of past runs: a CSV file that lists checkpoints and their accuracies."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from accuracy_from_weights.errors import (
    AccuracyFromWeightsError,
    UnreadableFileError,
    ZooError,
    warn,
)
from accuracy_from_weights.features.description import FEATURE_NAMES, describe
from accuracy_from_weights.features.paper import paper_statistics
from accuracy_from_weights.features.task import as_classifier
from accuracy_from_weights.weights import read_weights
from accuracy_from_weights.zoo.joining import join
from accuracy_from_weights.zoo.rebuilding.stored_networks import is_paper_architecture
from accuracy_from_weights.zoo.sources import column_of
from accuracy_from_weights.zoo.table import SCORES, ZooTable

NEEDED = ("file", "run", "accuracy")
_KNOWN = {*NEEDED, *SCORES, "step", "dataset"}

Floats = NDArray[np.float64]


_DescribedFile = tuple[NDArray[np.float32], NDArray[np.float32] | None, bytes]
"""Features, the paper's statistics and the digest of one file."""


def read_checkpoints(
    path: str | Path, n_jobs: int = 1, progress: Callable[[int, int], None] | None = None
) -> ZooTable:
    """Read checkpoints of past runs, listed in a CSV file, and describe their weights.

    Parameters
    ----------
    path : str or Path
        A CSV file with a line for each checkpoint and the columns

        - ``file``: what `read_weights` takes, relative to the CSV file's folder;
        - ``run``: the training run; checkpoints of one run are never split when a predictor is
          measured;
        - ``accuracy``: on test data, fraction in [0, 1]; a line without one is left out.

        It may have ``step`` (epochs trained), ``dataset``, ``loss``, ``train_accuracy``,
        ``train_loss`` (evaluated), ``log_accuracy`` and ``log_loss`` (as the training loop
        reported them). Any other column is taken for a hyperparameter.
    n_jobs : int, default 1
        Processes to read files in; -1 for one a core.
    progress : callable, optional
        Called with the files described and their number in all.

    Returns
    -------
    ZooTable
        Files that cannot be read are left out, with a warning.

    Raises
    ------
    UnreadableFileError
        When the CSV file is missing or damaged.
    ZooError
        When it lacks a column, a value is no number, an accuracy is no fraction, or no file can be
        read.
    """
    path = Path(path)
    lines = [line for line in _lines(path) if line["accuracy"]]
    if not lines:
        raise ZooError(f"{path} gives no accuracy for any file. Fill in its column accuracy.")
    measured: dict[str, Any] = {name: _numbers(path, lines, name) for name in (*SCORES, "step")}
    _check_accuracy(path, measured["accuracy"])
    described = _describe([path.parent / line["file"] for line in lines], n_jobs, progress)
    kept = [row for row, file in enumerate(described) if isinstance(file, tuple)]
    _report_left_out(path, described)
    features, paper, digests = zip(*(described[row] for row in kept), strict=True)
    columns = {
        name: column_of([_value(line[name]) for line in lines])[kept]
        for name in lines[0]
        if name not in _KNOWN
    }
    digest = hashlib.sha256(path.read_bytes() + b"".join(digests))
    return ZooTable(
        features=np.concatenate(features),
        feature_names=FEATURE_NAMES,
        paper_statistics=join(paper, [1] * len(kept)),
        runs=np.array([line["run"] for line in lines])[kept],
        datasets=np.array([line.get("dataset") or path.stem for line in lines])[kept],
        steps=measured["step"][kept],
        hyperparameters=columns,
        fingerprint=digest.hexdigest(),
        **{name: measured[name][kept] for name in SCORES},
    )


def _lines(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            header = reader.fieldnames or []
            lines: list[dict[str, Any]] = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableFileError(
            f"{path} cannot be read ({reason}). Name a CSV file that lists checkpoints."
        ) from error
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise ZooError(
            f"{path} lacks the columns {', '.join(missing)}. It needs {', '.join(NEEDED)} and has "
            f"{', '.join(header) or 'none'}."
        )
    for number, line in enumerate(lines, start=2):
        if None in line or None in line.values():
            raise ZooError(
                f"Line {number} of {path} does not have {len(header)} fields, as the first line "
                "does."
            )
        if not line["file"] or not line["run"]:
            raise ZooError(f"A line of {path} names no file or no run: {line}. Fill them in.")
    return lines


def _numbers(path: Path, lines: list[dict[str, str]], name: str) -> Floats:
    try:
        return np.array([float(line.get(name) or "nan") for line in lines])
    except ValueError as error:
        raise ZooError(
            f"The column {name} of {path} holds something other than numbers: {error}."
        ) from error


def _check_accuracy(path: Path, accuracy: Floats) -> None:
    # Written so that NaN, which a line may spell out, fails too.
    if not ((accuracy >= 0) & (accuracy <= 1)).all():
        raise ZooError(
            f"The accuracies in {path} run from {accuracy.min():g} to {accuracy.max():g} instead "
            "of lying in [0, 1]. Divide percentages by 100."
        )


def _value(text: str) -> str | float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _describe(
    files: list[Path], n_jobs: int, progress: Callable[[int, int], None] | None
) -> list[Any]:
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator")
    described: list[_DescribedFile | AccuracyFromWeightsError] = []
    for result in parallel(joblib.delayed(_describe_file)(file) for file in files):
        described.append(result)
        if progress is not None:
            progress(len(described), len(files))
    return described


# As in `describing`: features do not depend on `n_jobs`.
@threadpool_limits.wrap(limits=1)
def _describe_file(file: Path) -> _DescribedFile | AccuracyFromWeightsError:
    try:
        # Their accuracy is known, so they are classifiers.
        stack = as_classifier(read_weights(file), "multiclass").as_stack()
        paper = paper_statistics(stack) if is_paper_architecture(stack) else None
        return describe(stack), paper, hashlib.sha256(file.read_bytes()).digest()
    except AccuracyFromWeightsError as error:
        return error


def _report_left_out(path: Path, described: list[Any]) -> None:
    errors = [file for file in described if isinstance(file, AccuracyFromWeightsError)]
    if not errors:
        return
    if len(errors) == len(described):
        raise ZooError(f"None of the files that {path} lists can be read. {errors[0]}")
    warn(f"{len(errors)} of {len(described)} files of {path} were left out. {errors[0]}")
