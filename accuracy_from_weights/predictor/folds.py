"""Splits by training run or task: rows of one never stand on both sides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accuracy_from_weights.errors import ZooError

Rows = NDArray[np.intp]
Progress = Callable[[int, int], None]


class Counter:
    """Count finished fits and report them to the caller's function.

    Parameters
    ----------
    total : int
        Fits in all.
    progress : callable or None
        Called with the fits done and the fits in all, before the first and after each.
    """

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total, self.progress = total, progress
        self.up_to(0)

    def up_to(self, done: int) -> None:
        """Report that so many fits are done."""
        self.done = done
        if self.progress is not None:
            self.progress(done, self.total)

    def one_more(self) -> None:
        """Report that one more fit is done."""
        self.up_to(self.done + 1)

    def finish(self) -> None:
        """Report that all is done."""
        self.up_to(self.total)


def group_folds(groups: ArrayLike, n_folds: int, random_state: int = 0) -> list[tuple[Rows, Rows]]:
    """Split rows into folds (train, test) of row numbers, such that no group stands on both sides.

    A group is a training run or task. Every row is tested once; the seed shuffles the groups.

    Raises
    ------
    ZooError
        When there are fewer groups than folds.
    """
    names, group_of_row = np.unique(np.asarray(groups), return_inverse=True)
    if n_folds < 2 or names.size < n_folds:
        raise ZooError(
            f"{names.size} runs or tasks cannot be split into {n_folds} folds; choose at least two "
            "folds, and no more than there are runs or tasks."
        )
    # Not GroupKFold: it shuffles only from scikit-learn 1.6 on.
    shuffled = np.random.default_rng(random_state).permutation(names.size)
    fold_of_group = np.empty(names.size, dtype=np.intp)
    for fold, members in enumerate(np.array_split(shuffled, n_folds)):
        fold_of_group[members] = fold
    fold_of_row = fold_of_group[group_of_row]
    return [
        (np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold))
        for fold in range(n_folds)
    ]


def last_rows(runs: ArrayLike, steps: ArrayLike | None = None) -> NDArray[np.bool_]:
    """Return which rows are the last of their run, booleans of shape (n,).

    Steps are training done, in any unit; left out, a run's rows stand in the order of its training.
    """
    _, run = np.unique(np.asarray(runs), return_inverse=True)
    order = (
        np.argsort(run, kind="stable") if steps is None else np.lexsort((np.asarray(steps), run))
    )
    is_last = np.zeros(len(run), bool)
    is_last[order[np.append(np.diff(run[order]) != 0, True)]] = True
    return is_last
