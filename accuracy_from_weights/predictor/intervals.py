"""Intervals that hold for networks of runs never seen.

Split conformal prediction, with runs and not rows as what is exchangeable: the checkpoints of one
run resemble each other, so each run weighs the same however many checkpoints it has (Dunn,
Wasserman & Ramdas 2022, "Distribution-free prediction sets for two-layer hierarchical models",
pooling of the runs' distributions). The errors come from models that were not fitted on the run
(cross-conformal: Vovk 2015), and are divided by an expected error first, so that the width
follows how hard a network is to judge (Lei et al. 2018, section 5.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVELS = np.concatenate([np.arange(1, 100) / 100, [0.995, 0.999]])
"""Coverages for which a width is kept, so that a fitted predictor can be asked for any of them."""


def run_weights(runs: ArrayLike) -> NDArray[np.float64]:
    """Weight of each row so that every run has the same, and all together 1.

    Parameters
    ----------
    runs : array-like of shape (n_rows,)

    Returns
    -------
    ndarray of shape (n_rows,)
    """
    _, index, counts = np.unique(np.asarray(runs), return_inverse=True, return_counts=True)
    return 1 / (counts[index] * len(counts))


def conformal_widths(
    scores: ArrayLike, runs: ArrayLike, levels: ArrayLike = LEVELS
) -> NDArray[np.float64]:
    """Score below which an unseen run's checkpoint falls with each probability.

    Parameters
    ----------
    scores : array-like of shape (n_rows,)
        Absolute error over expected error, of rows whose run was not fitted on.
    runs : array-like of shape (n_rows,)
    levels : array-like of shape (n_levels,)
        Coverages, fractions.

    Returns
    -------
    ndarray of shape (n_levels,)
        Infinite where there are too few runs for the level: the unseen run counts as one more,
        whose scores could be anything.
    """
    scores = np.asarray(scores, float)
    n_runs = len(np.unique(np.asarray(runs)))
    order = np.argsort(scores)
    mass = np.cumsum(run_weights(runs)[order]) * n_runs / (n_runs + 1)
    # The tolerance keeps rounding in the sum from pushing an exact level to the next score.
    position = np.searchsorted(mass, np.asarray(levels, float) - 1e-9)
    return np.append(scores[order], np.inf)[position]


def width_at(widths: NDArray[np.float64], coverage: float) -> float:
    """Width for one coverage: that of the next level that was kept.

    Parameters
    ----------
    widths : ndarray of shape (len(LEVELS),)
    coverage : float
        Fraction in (0, 1).
    """
    position = int(np.searchsorted(LEVELS, coverage - 1e-9))
    return float(widths[position]) if position < len(LEVELS) else float("inf")
