"""The metrics of a zoo in the published format: accuracies, losses, runs and recipes by row."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError, warn
from accuracy_from_weights.io.archives import DamagedArchiveError, check_expansion

METRICS_FILES = ("metrics.csv.gz", "metrics.csv")
RECIPE_PREFIX = "config."
MEASURED = (
    "test_accuracy",
    "test_loss",
    "train_accuracy",
    "train_loss",
    "log_accuracy",
    "log_loss",
)
_BLOCK_ROWS = 20_000

_DAMAGE = (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error, DamagedArchiveError)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ZooMetrics:
    """What is known of n checkpoints: arrays of shape (n,).

    Attributes
    ----------
    runs : ndarray of str
        The training run that the checkpoint belongs to.
    steps : ndarray of float
        Epochs trained.
    test_accuracy, ..., log_loss : ndarray of float
        Fractions in [0, 1], and nats; NaN where unknown. The log is what a training loop reports of
        its epoch for free; the authors publish none.
    recipe : dict of str to ndarray
        Hyperparameters, numbers or strings, by name without ``config.``.
    digest : str
        SHA-256 of the file, as hexadecimal digits.
    """

    runs: NDArray[np.str_]
    steps: Floats
    test_accuracy: Floats
    test_loss: Floats
    train_accuracy: Floats
    train_loss: Floats
    log_accuracy: Floats
    log_loss: Floats
    recipe: dict[str, NDArray[np.generic]]
    digest: str

    def __len__(self) -> int:
        return len(self.runs)


def read_metrics(folder: Path) -> ZooMetrics:
    """Read the metrics of a folder in the published format.

    The columns ``test_accuracy`` and ``step`` are needed. Where ``modeldir``, which names the run,
    is missing, the runs are found from the recipes and the steps, with a warning. A file that is
    missing or damaged, lacks a column, or knows no accuracy raises `ZooError`.
    """
    path = next((folder / name for name in METRICS_FILES if (folder / name).is_file()), None)
    if path is None:
        raise ZooError(
            f"{folder} is not a zoo in the published format: it has no {METRICS_FILES[0]}."
        )
    columns, digest = _read_columns(path)
    for name in ("test_accuracy", "step"):
        if name not in columns:
            raise ZooError(
                f"{path} has no column {name}. A zoo needs modeldir, step and test_accuracy."
            )
    steps = _as_floats(columns["step"])
    if steps is None or not np.isfinite(steps).all():
        raise ZooError(f"{path} has lines whose step is not a number.")
    measured = {}
    for name in MEASURED:
        values = _as_floats(columns[name]) if name in columns else np.full(len(steps), np.nan)
        if values is None:
            raise ZooError(f"The column {name} of {path} holds something other than numbers.")
        measured[name] = values
    _check_accuracy(path, measured["test_accuracy"])
    recipe = {
        name[len(RECIPE_PREFIX) :]: _as_numbers_or_text(values)
        for name, values in columns.items()
        if name.startswith(RECIPE_PREFIX)
    }
    if "modeldir" in columns:
        runs = _as_text(columns["modeldir"])
    else:
        runs = _find_runs(path, steps, recipe)
    return ZooMetrics(runs, steps, **measured, recipe=recipe, digest=digest)


def write_metrics(path: Path, header: list[str], rows: Iterator[list[object]]) -> None:
    """Write metrics, gzip-compressed, the rows numbered as the authors' are.

    The same rows always give the same bytes: the time of writing is left out.
    """
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
    ):
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["", *header])
        for number, row in enumerate(rows):
            writer.writerow([number, *row])


def _read_columns(path: Path) -> tuple[dict[str, NDArray[np.bytes_]], str]:
    """Read every column as bytes, a quarter of the memory that text would take."""
    blocks: list[list[NDArray[np.bytes_]]] = []
    digest = hashlib.sha256()
    try:
        stored = path.stat().st_size
        with path.open("rb") as raw:
            while piece := raw.read(1 << 20):
                digest.update(piece)
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            header = next(lines, [])
            if len(set(header)) < len(header):
                raise ZooError(f"Two columns of {path} have the same name: {header}.")
            block: list[list[str]] = []
            length = 0
            for line in lines:
                length += sum(map(len, line))
                check_expansion(length, stored)
                if len(line) != len(header):
                    raise ZooError(
                        f"Line {lines.line_num} of {path} has {len(line)} fields, and its first "
                        f"line {len(header)}."
                    )
                block.append(line)
                if len(block) == _BLOCK_ROWS:
                    blocks.append(_encode(block))
                    block = []
            if block:
                blocks.append(_encode(block))
    except _DAMAGE as error:
        raise ZooError(
            f"{path} is not a complete table of comma-separated values: {error}."
        ) from error
    if not blocks:
        raise ZooError(f"{path} has no line below its header. Name another zoo.")
    return {
        name: np.concatenate([block[i] for block in blocks]) for i, name in enumerate(header)
    }, digest.hexdigest()


def _encode(lines: list[list[str]]) -> list[NDArray[np.bytes_]]:
    columns = zip(*lines, strict=True)
    return [np.array([value.encode() for value in column]) for column in columns]


def _as_floats(values: NDArray[np.bytes_]) -> Floats | None:
    try:
        return np.where(values == b"", b"nan", values).astype(np.float64)
    except ValueError:
        return None


def _as_text(values: NDArray[np.bytes_]) -> NDArray[np.str_]:
    return np.char.decode(values, "utf-8")


def _as_numbers_or_text(values: NDArray[np.bytes_]) -> NDArray[np.generic]:
    numbers = None if (values == b"").all() else _as_floats(values)
    return _as_text(values) if numbers is None else numbers


def _check_accuracy(path: Path, accuracy: Floats) -> None:
    known = accuracy[~np.isnan(accuracy)]
    if not known.size:
        raise ZooError(f"{path} gives no test accuracy, so nothing can be learned from the zoo.")
    if known.min() < 0 or known.max() > 1:
        raise ZooError(
            f"The test accuracies in {path} run from {known.min():g} to {known.max():g} instead of "
            "lying in [0, 1]. Divide percentages by 100."
        )


def _find_runs(
    path: Path, steps: Floats, recipe: dict[str, NDArray[np.generic]]
) -> NDArray[np.str_]:
    """Return run numbers for a file that does not name its runs.

    Recipes hold numbers drawn at random, so that equal recipes mean one run, wherever its rows
    stand, unless a step comes twice in it. Otherwise the rows of a run are taken to follow each
    other: a new one begins where the step does not grow or the recipe changes.
    """
    warn(
        f"{path} has no column modeldir, so that the runs were told apart by their recipes and "
        f"steps; name the run of each line in modeldir to be sure."
    )
    same_recipe = np.zeros(len(steps), dtype=np.intp)
    for values in recipe.values():
        codes = np.unique(values, return_inverse=True)[1]
        pairs = same_recipe * (int(codes.max()) + 1) + codes
        same_recipe = np.unique(pairs, return_inverse=True)[1]
    step_codes = np.unique(steps, return_inverse=True)[1]
    pairs = same_recipe * (int(step_codes.max()) + 1) + step_codes
    if recipe and len(np.unique(pairs)) == len(steps):
        _, first_rows, places = np.unique(same_recipe, return_index=True, return_inverse=True)
        run_numbers = np.argsort(np.argsort(first_rows))[places]
    else:
        begins = (np.diff(steps) <= 0) | (np.diff(same_recipe) != 0)
        run_numbers = np.concatenate([[0], np.cumsum(begins)])
    return np.char.add("run-", np.char.zfill(run_numbers.astype(str), 6))
