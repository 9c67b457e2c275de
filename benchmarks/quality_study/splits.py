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
FEWEST_RUNS = 12
"""A predictor asks for ten."""


@dataclass(frozen=True)
class Split:
    """Runs to fit on and runs to score.

    Attributes
    ----------
    dataset : str
    fold : int
    train, test : ndarray of int
        Rows of the table; no run on both sides. Of a run fitted on there are only some checkpoints.
    """

    dataset: str
    fold: int
    train: Rows
    test: Rows


def papers_networks(table: ZooTable) -> ZooTable:
    """Return the rows of the paper's network on data sets that are not generated."""
    family = table.hyperparameters.get("family", np.full(len(table), ""))
    return table.subset((family != "wild") & ~np.char.startswith(table.datasets, "universe"))


def make_splits(table: ZooTable, per_run: int) -> list[Split]:
    """Make three folds of the runs of each data set.

    Parameters
    ----------
    table : ZooTable
    per_run : int
        The most checkpoints of one run that are fitted on: the last and others drawn at random.
    """
    place = _order_in_run(table)
    splits = []
    for dataset in np.unique(table.datasets):
        inside = np.flatnonzero(table.datasets == dataset)
        if len(np.unique(table.runs[inside])) < FEWEST_RUNS * N_FOLDS / (N_FOLDS - 1):
            continue
        for fold, (train, test) in enumerate(group_folds(table.runs[inside], N_FOLDS)):
            known = inside[train]
            splits.append(Split(str(dataset), fold, known[place[known] < per_run], inside[test]))
    return splits


def _order_in_run(table: ZooTable) -> Rows:
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
    return place


def final_mask(table: ZooTable) -> NDArray[np.bool_]:
    """Mark the last checkpoint of each run."""
    return last_rows(table.runs, table.steps)
