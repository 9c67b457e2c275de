"""Recorded runs as a matrix: one row a run, one column a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.zoo.table import ZooTable
from accuracy_from_weights.zoo.trajectories import progress_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Courses:
    """Runs that were recorded at the same shares of their planned training.

    Attributes
    ----------
    runs : ndarray of shape (n_runs,), str
    rows : ndarray of shape (n_runs, n_checkpoints), int
        Rows of the table; -1 where the run had diverged by then.
    progress : ndarray of shape (n_checkpoints,)
        Median share of the planned training that is done at each checkpoint.
    steps : ndarray of shape (n_checkpoints,)
        Median epochs done.
    """

    runs: NDArray[np.str_]
    rows: NDArray[np.intp]
    progress: Floats
    steps: Floats

    def __len__(self) -> int:
        return len(self.runs)

    def values(self, column: NDArray[Any], diverged: float) -> Floats:
        """Lay a column of the table out as a matrix, with a number where a run had diverged."""
        return np.where(self.rows >= 0, np.asarray(column, float)[self.rows], diverged)

    def accuracies(self, accuracy: NDArray[Any]) -> Floats:
        """Give true accuracies; a run that diverged is back at what it began with."""
        known = self.values(accuracy, np.nan)
        return np.where(np.isnan(known), known[:, :1], known)

    def of(self, runs: NDArray[np.str_]) -> Courses:
        """Keep some of the runs."""
        kept = np.isin(self.runs, runs)
        return Courses(self.runs[kept], self.rows[kept], self.progress, self.steps)


def courses_of(table: ZooTable, chosen: NDArray[np.bool_]) -> Courses:
    """Lay out the runs of some rows; runs with fewer checkpoints than planned are left out.

    Parameters
    ----------
    table : ZooTable
    chosen : ndarray of shape (n_rows,), bool
        Rows of runs with one plan of checkpoints.
    """
    progress = progress_of(table)
    rows = np.flatnonzero(chosen)
    rows = rows[np.lexsort((progress[rows], table.runs[rows]))]
    names, start, count = np.unique(table.runs[rows], return_index=True, return_counts=True)
    width = int(count.max())
    found, kept = np.full((len(names), width), -1), np.ones(len(names), bool)
    for k, (first, n) in enumerate(zip(start, count, strict=True)):
        found[k, :n] = rows[first : first + n]
        # Finished with fewer checkpoints: another plan, not a run that diverged.
        kept[k] = n == width or progress[found[k, n - 1]] < 1
    found, whole = found[kept], found[count == width]
    steps, shares = np.asarray(table.steps)[whole], progress[whole]
    return Courses(names[kept], found, np.median(shares, axis=0), np.median(steps, axis=0))


def mean_of_last(values: Floats, n: int = 3) -> Floats:
    """Average each checkpoint's value with those of the checkpoints before it, `n` in all."""
    means = [values[:, max(0, k + 1 - n) : k + 1].mean(axis=1) for k in range(values.shape[1])]
    return np.stack(means, axis=1)
