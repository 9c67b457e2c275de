"""Splits by training run: checkpoints of one run never stand on both sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accuracy_from_weights.errors import ZooError

Rows = NDArray[np.intp]


def run_folds(runs: ArrayLike, n_folds: int, random_state: int = 0) -> list[tuple[Rows, Rows]]:
    """Split rows into folds such that no run stands on both sides.

    Parameters
    ----------
    runs : array_like of shape (n,)
        The training run of each row.
    n_folds : int
        At least 2.
    random_state : int
        Seed of the shuffle of the runs. Defaults to 0.

    Returns
    -------
    list of (train, test)
        Row numbers; every row is tested once.

    Raises
    ------
    ZooError
        When there are fewer runs than folds.
    """
    names, run_of_row = np.unique(np.asarray(runs), return_inverse=True)
    if n_folds < 2 or names.size < n_folds:
        raise ZooError(
            f"Expected at least as many training runs as folds, and two folds. "
            f"Received: {names.size} runs for {n_folds} folds."
        )
    # Not GroupKFold: it shuffles only from scikit-learn 1.6 on.
    shuffled = np.random.default_rng(random_state).permutation(names.size)
    fold_of_run = np.empty(names.size, dtype=np.intp)
    for fold, members in enumerate(np.array_split(shuffled, n_folds)):
        fold_of_run[members] = fold
    fold_of_row = fold_of_run[run_of_row]
    return [
        (np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold))
        for fold in range(n_folds)
    ]


def last_of_each(runs: ArrayLike) -> NDArray[np.bool_]:
    """Mark the last row of each run.

    Parameters
    ----------
    runs : array_like of shape (n,)

    Returns
    -------
    ndarray of shape (n,)
    """
    names = np.asarray(runs)
    _, position = np.unique(names[::-1], return_index=True)
    last = np.zeros(len(names), bool)
    last[len(names) - 1 - position] = True
    return last
