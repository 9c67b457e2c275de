from __future__ import annotations

import numpy as np
import pytest

from accuracy_from_weights.zoo.table import ZooTable
from accuracy_from_weights.zoo.trajectories import progress_of


def table(runs, steps, epochs=None) -> ZooTable:
    n = len(runs)
    nothing = np.full(n, np.nan)
    return ZooTable(
        features=np.zeros((n, 1), np.float32),
        feature_names=("a",),
        paper_statistics=None,
        runs=np.array(list(runs)),
        datasets=np.full(n, "digits"),
        steps=np.array(steps, float),
        accuracy=np.full(n, 0.5),
        loss=nothing,
        train_accuracy=nothing,
        train_loss=nothing,
        hyperparameters={} if epochs is None else {"epochs": np.array(epochs)},
        fingerprint="",
    )


def test_progress_is_the_share_of_the_plan_in_whatever_order_the_rows_stand():
    assert progress_of(table("baab", [8, 0, 2, 0], [8, 2, 2, 8])).tolist() == [1, 0, 1, 0]


def test_a_run_that_diverged_is_known_by_its_plan():
    assert progress_of(table("aaa", [0, 1, 2], [10, 10, 10])) == pytest.approx([0, 0.1, 0.2])


@pytest.mark.parametrize("epochs", [None, [np.nan] * 3, [""] * 3, [0.0] * 3, [2, 2, 2]])
def test_where_the_plan_is_unknown_or_outrun_the_last_checkpoint_is_the_end(epochs):
    zoo = table("aab", [1, 4, 0], epochs)
    assert progress_of(zoo)[:2].tolist() == [0.25, 1]
    if epochs != [2, 2, 2]:
        assert progress_of(zoo)[2] == 1


def test_unknown_steps_leave_progress_unknown():
    assert np.isnan(progress_of(table("ab", [np.nan, np.nan]))).all()
    assert progress_of(table("aab", [1, 2, np.nan])).tolist()[:2] == [0.5, 1]


def test_rounding_of_fractional_epochs_leaves_a_run_finished():
    assert progress_of(table("aa", [0.1, 0.3 * 3], [0.1 * 9 + 1e-12] * 2))[1] == 1
