"""Which runs are fitted on and which are scored, part by part."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.predictor.folds import group_folds, last_rows
from accuracy_from_weights.zoo.table import ZooTable

Rows = NDArray[np.intp]

N_FOLDS = 3
CURVE_FOLDS = 6
SIZES = (30, 100, 150, 300, 1000, 3000)
REPEATS = {30: 3, 100: 3, 150: 3, 300: 2}
"""How often runs are drawn for a small size, whose score depends on the draw."""
FEWEST_RUNS = 12
"""A predictor asks for ten."""


@dataclass(frozen=True)
class Split:
    """Runs to fit on and runs to score.

    Attributes
    ----------
    part : str
        ``same``, ``pool``, ``dataset``, ``kind``, ``curve`` or ``mixed``.
    name : str
        What is left out, or how many runs are fitted on.
    fold : int
        Number of the fold, or of the draw.
    train, test : ndarray of int
        Rows of the table; no run on both sides. Of a run fitted on there are only some checkpoints.
    """

    part: str
    name: str
    fold: int
    train: Rows
    test: Rows


def kinds_of(table: ZooTable) -> NDArray[np.str_]:
    """Give each row's kind of network: ``paper`` or, among the wild ones, its architecture."""
    blank = np.full(len(table), "")
    family = np.asarray(table.hyperparameters.get("family", blank)).astype(str)
    architecture = np.asarray(table.hyperparameters.get("dnn_architecture", blank)).astype(str)
    return np.where(family == "wild", architecture, "paper")


def make_splits(table: ZooTable, per_run: int, most_rows: int) -> list[Split]:
    """Make all splits, in the order of their importance.

    Parameters
    ----------
    table : ZooTable
    per_run : int
        The most checkpoints of one run that are fitted on: the last and others drawn at random.
    most_rows : int
        The most checkpoints that are fitted on, last ones first.
    """
    place, chance = _order_in_run(table)
    kinds, datasets = kinds_of(table), table.datasets
    splits: list[Split] = []

    def add(part: str, name: str, fold: int, train: Rows, test: Rows) -> None:
        kept = train[place[train] < per_run]
        kept = np.sort(kept[np.lexsort((chance[kept], place[kept]))][:most_rows])
        if len(np.unique(table.runs[kept])) >= FEWEST_RUNS and len(test):
            assert not set(table.runs[kept]) & set(table.runs[test])
            splits.append(Split(part, name, fold, kept, test))

    is_paper = kinds == "paper"
    for dataset in np.unique(datasets):
        inside = np.flatnonzero((datasets == dataset) & is_paper)
        if len(np.unique(table.runs[inside])) >= N_FOLDS:
            for fold, (train, test) in enumerate(group_folds(table.runs[inside], N_FOLDS)):
                add("same", str(dataset), fold, inside[train], inside[test])
    for dataset in np.unique(datasets):
        left_out = datasets == dataset
        add("dataset", str(dataset), 0, np.flatnonzero(~left_out), np.flatnonzero(left_out))
    for kind in np.unique(kinds[~is_paper]):
        # The paper's network is a plain CNN, too: left in, it would give that kind away.
        like = (kinds == kind) | ((kind == "cnn") & is_paper)
        add("kind", str(kind), 0, np.flatnonzero(~like), np.flatnonzero(kinds == kind))
    for fold, (train, test) in enumerate(group_folds(table.runs, N_FOLDS)):
        add("pool", "all", fold, train, test)
    train, test = group_folds(table.runs, CURVE_FOLDS)[0]
    if is_paper[train].any() and is_paper[test].any():
        papers = train[is_paper[train]], test[is_paper[test]]
        for size, draw, rows in _draws(table, papers[0], 0):
            add("curve", str(size), draw, rows, papers[1])
    if not is_paper.all():
        for size, draw, rows in _draws(table, train, 300):
            add("mixed", str(size), draw, rows, test)
    return splits


def _draws(table: ZooTable, rows: Rows, smallest: int) -> list[tuple[int, int, Rows]]:
    """Draw runs: how many, the number of the draw, the rows of these runs."""
    runs = np.unique(table.runs[rows])
    sizes = [size for size in SIZES if smallest <= size < len(runs)]
    if not sizes or len(runs) > 1.3 * sizes[-1]:
        sizes.append(len(runs))
    found = []
    for size in sizes:
        for draw in range(REPEATS.get(size, 1)):
            drawn = np.random.default_rng([size, draw]).permutation(runs)[:size]
            found.append((size, draw, rows[np.isin(table.runs[rows], drawn)]))
    return found


def _order_in_run(table: ZooTable) -> tuple[Rows, NDArray[np.float64]]:
    """Rank each run's checkpoints, the last one first, the others by a number of their own.

    The number depends on run and step alone, not on what else the table holds.
    """
    names = (f"{run} {step:g}" for run, step in zip(table.runs, table.steps, strict=True))
    chance = np.array([zlib.crc32(name.encode()) / 2**32 for name in names])
    order = np.where(final_mask(table), -1.0, chance)
    _, run_of_row = np.unique(table.runs, return_inverse=True)
    by_run = np.lexsort((order, run_of_row))
    starts = np.r_[True, np.diff(run_of_row[by_run]) > 0]
    first = np.maximum.accumulate(np.where(starts, np.arange(len(table)), 0))
    place = np.empty(len(table), np.intp)
    place[by_run] = np.arange(len(table)) - first
    return place, chance


def final_mask(table: ZooTable) -> NDArray[np.bool_]:
    """Mark the last checkpoint of each run."""
    return last_rows(table.runs, table.steps)
