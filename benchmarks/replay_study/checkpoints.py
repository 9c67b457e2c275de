"""Which checkpoint of a run to keep, and what the choice costs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from accuracy_from_weights.features.feature_sets import feature_names
from accuracy_from_weights.features.log_columns import complete_log
from accuracy_from_weights.zoo.table import ZooTable

from .courses import Courses, courses_of, mean_of_last
from .unseen import Said, Split, kinds_of

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_LARGEST_FALL = 0.06
"""Differences beyond this are cut off: that the first epochs are worse needs no learning."""


def regrets_of(
    courses: Courses, table: ZooTable, said: dict[str, Said], learned: dict[str, Floats]
) -> dict[str, Floats]:
    """Accuracy of each run's best checkpoint less that of the one chosen, fractions.

    Parameters
    ----------
    learned : dict of str to ndarray of shape (n_rows of the table,)
        See `differences_of`.

    Returns
    -------
    dict of str to ndarray of shape (n_runs,)
        By how the choice is made. Runs that diverged are left out: nobody keeps their last state.
    """
    rows = courses.rows[(courses.rows >= 0).all(axis=1)]
    truth = np.asarray(table.accuracy)[rows]
    choices = {"take the last": np.full(len(rows), rows.shape[1] - 1)}
    for features, answers in said.items():
        value, low, high = (answers.now[rows, k] for k in range(3))
        choices[f"best estimate, {features}"] = best_of(value)
        choices[f"best mean of the last three estimates, {features}"] = best_of(mean_of_last(value))
        surely = np.where(low > high[:, -1:], value, -1.0)
        surely[:, -1] = np.maximum(surely[:, -1], 0)
        choices[f"the last, unless an interval lies above its own, {features}"] = best_of(surely)
        if features in learned:
            choices[f"learned differences, {features}"] = best_of(learned[features][rows])
    log = table.log_accuracy if not np.isnan(table.log_accuracy).all() else table.train_accuracy
    choices["training accuracy, as logged"] = best_of(np.nan_to_num(log)[rows])
    best = truth.max(axis=1)
    return {name: best - truth[np.arange(len(rows)), k] for name, k in choices.items()}


def best_of(values: Floats) -> Rows:
    """Take the checkpoint with the highest value, the last one of several."""
    return values.shape[1] - 1 - np.argmax(values[:, ::-1], axis=1)


def differences_of(table: ZooTable, split: Split, features: str, seed: int = 0) -> Floats:
    """Learn within runs how far a checkpoint lies above the run's last one, from both.

    The second half of the training is compared only: from the first few epochs on, each checkpoint
    is so much better than the one before that the last one need not be questioned.

    Returns
    -------
    ndarray of shape (n_rows of the table,)
        For tested rows: 0 for each run's last checkpoint and before half of the training -1.
    """
    inputs = complete_log(table.inputs(features), feature_names(features))
    inputs = np.clip(np.nan_to_num(inputs), -1e6, 1e6)
    found = np.full(len(table), -1.0)
    kinds = kinds_of(table)
    fitted: list[tuple[Floats, Floats]] = []
    asked: list[tuple[Rows, Floats]] = []
    for side, rows_of_side in (("train", split.train), ("test", split.test)):
        inside = np.zeros(len(table), bool)
        inside[rows_of_side] = True
        for kind in np.unique(kinds[inside]):
            courses = courses_of(table, inside & (kinds == kind))
            rows = courses.rows[(courses.rows >= 0).all(axis=1)]
            late = rows[:, :-1][:, courses.progress[:-1] >= 0.3]
            last = np.repeat(rows[:, -1], late.shape[1])
            found[rows[:, -1]] = 0
            late = late.ravel()
            columns = np.hstack([inputs[late] - inputs[last], inputs[last]])
            if side == "train":
                fitted.append((columns, table.accuracy[late] - table.accuracy[last]))
            else:
                asked.append((late, columns))
    model = ExtraTreesRegressor(60, max_features=0.15, min_samples_leaf=3, random_state=seed)
    target = np.concatenate([y for _, y in fitted])
    model.fit(np.concatenate([x for x, _ in fitted]), target.clip(-_LARGEST_FALL, _LARGEST_FALL))
    for late, columns in asked:
        found[late] = model.predict(columns)
    return found
