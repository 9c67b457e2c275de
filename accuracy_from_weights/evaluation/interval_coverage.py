"""Measured coverage of prediction intervals beside their stated coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_RESAMPLES = 1000


@dataclass(frozen=True)
class Coverage:
    """Measured coverage and width of intervals of one stated coverage.

    Attributes
    ----------
    stated, measured : float
        Fractions in [0, 1]; each run weighs the same.
    low, high : float
        95% bootstrap interval of `measured`, over runs.
    width : float
        Mean width, in units of accuracy.
    """

    stated: float
    measured: float
    low: float
    high: float
    width: float


def coverage_by_level(
    truth: ArrayLike,
    intervals: ArrayLike,
    levels: ArrayLike,
    runs: ArrayLike,
) -> list[Coverage]:
    """Return the measured coverage for each stated coverage.

    Parameters
    ----------
    truth : array_like of shape (n,)
        Fractions in [0, 1].
    intervals : array_like of shape (n, k, 2)
        Low and high ends at each level.
    levels : array_like of shape (k,)
        Stated coverages, fractions.
    runs : array_like of shape (n,)
        The training run of each row. What an interval promises is promised to a run, so each run
        weighs the same however many checkpoints it has, and runs are what the bootstrap draws.

    Returns
    -------
    list of Coverage
        One a level.
    """
    t = np.asarray(truth, dtype=np.float64)[:, None]
    low, high = np.moveaxis(np.asarray(intervals, dtype=np.float64), -1, 0)
    held = _mean_by_run((low <= t) & (t <= high), runs)
    width = _mean_by_run(high - low, runs).mean(axis=0)
    generator = np.random.default_rng(0)
    # One draw at a time: all at once would take gigabytes for a zoo of thousands of runs.
    drawn = np.array(
        [
            held[generator.integers(len(held), size=len(held))].mean(axis=0)
            for _ in range(_RESAMPLES)
        ]
    )
    ends = np.percentile(drawn, (2.5, 97.5), axis=0)
    return [
        Coverage(float(level), float(measured), float(a), float(b), float(w))
        for level, measured, a, b, w in zip(
            np.asarray(levels), held.mean(axis=0), *ends, width, strict=True
        )
    ]


def _mean_by_run(values: NDArray[np.generic], runs: ArrayLike) -> NDArray[np.float64]:
    """Return the mean of each run's rows, shape (n_runs, k)."""
    _, run_of_row, counts = np.unique(np.asarray(runs), return_inverse=True, return_counts=True)
    columns = [
        np.bincount(run_of_row, weights=column.astype(np.float64)) / counts for column in values.T
    ]
    return np.stack(columns, axis=1)
