"""Intervals that hold for networks of runs, or tasks, never seen.

Split conformal prediction in which runs (or tasks) and not rows are exchangeable: the checkpoints
of one run resemble each other, so each run weighs the same however many checkpoints it has (Dunn,
Wasserman & Ramdas 2022, "Distribution-free prediction sets for two-layer hierarchical models",
pooling of the runs' distributions). The errors come from models that were not fitted to the run
(cross-conformal: Vovk 2015), and are divided by an expected error first, so that the width
follows how hard a network is to judge (Lei et al. 2018, section 5.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVELS = np.concatenate([np.arange(1, 100) / 100, [0.995, 0.999]])
"""Coverages for which a width is kept, so that a fitted predictor can be asked for any of them."""


def unit_weights(units: ArrayLike) -> NDArray[np.float64]:
    """Return the weight of each row by which every run or task has the same, and all together 1."""
    _, index, counts = np.unique(np.asarray(units), return_inverse=True, return_counts=True)
    return 1 / (counts[index] * len(counts))


def conformal_widths(
    scores: ArrayLike, units: ArrayLike, levels: ArrayLike = LEVELS
) -> NDArray[np.float64]:
    """Return the score below which a network of an unseen unit falls with each probability.

    Parameters
    ----------
    scores : array-like of shape (n_rows,)
        Absolute error over expected error, of rows whose unit was not fitted on.
    units : array-like of shape (n_rows,)
        Training run or task of each row.
    levels : array-like of shape (n_levels,)
        Coverages, fractions.

    Returns
    -------
    ndarray of shape (n_levels,)
        Infinite where there are too few units for the level: the unseen one counts as one more,
        whose scores could be anything.
    """
    scores = np.asarray(scores, float)
    n_units = len(np.unique(np.asarray(units)))
    order = np.argsort(scores)
    mass = np.cumsum(unit_weights(units)[order]) * n_units / (n_units + 1)
    # The tolerance keeps rounding in the sum from pushing an exact level to the next score.
    position = np.searchsorted(mass, np.asarray(levels, float) - 1e-9)
    return np.append(scores[order], np.inf)[position]


def width_at(widths: NDArray[np.float64], coverage: float) -> float:
    """Return the width for one coverage, a fraction: that of the next of `LEVELS`."""
    position = int(np.searchsorted(LEVELS, coverage - 1e-9))
    return float(widths[position]) if position < len(LEVELS) else float("inf")
