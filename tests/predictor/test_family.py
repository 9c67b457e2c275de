from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from accuracy_from_weights.predictor.family import FamilyCheck


def zoo(n: int, seed: int) -> np.ndarray:
    X = np.random.default_rng(seed).normal(size=(n, 10)).astype(np.float32)
    X[:, 9] = 4  # all of one depth, say
    return X


def test_unseen_members_get_uniform_p_values():
    check = FamilyCheck.fit(zoo(600, 0), np.arange(600), 0)
    p_values = check.p_values(zoo(1000, 1))
    for level in (0.05, 0.2, 0.5):
        assert (p_values < level).mean() == pytest.approx(level, abs=0.06)


def test_strangers_get_small_ones():
    check = FamilyCheck.fit(zoo(600, 0), np.arange(600), 0)
    far, deeper = zoo(50, 2) + 5, zoo(50, 3)
    deeper[:, 9] = 5
    assert (check.p_values(far) < 0.005).all()
    assert (check.p_values(deeper) < 0.005).all()


def test_nearness_to_ones_own_run_is_no_merit():
    """Eight checkpoints that hardly differ: without leaving the run out, all would be near."""
    generator = np.random.default_rng(4)
    runs = np.repeat(np.arange(75), 8)
    X = zoo(75, 5)[runs] + 1e-3 * generator.normal(size=(600, 10)).astype(np.float32)
    check = FamilyCheck.fit(X, runs, 0)
    assert (check.p_values(zoo(500, 6)) < 0.05).mean() < 0.2


@pytest.mark.parametrize("name", ["centre", "scale", "references", "distances"])
def test_damaged_arrays_are_refused(name):
    check = FamilyCheck.fit(zoo(60, 0), np.arange(60), 0)
    array = getattr(check, name)
    with pytest.raises(ValueError, match="family check"):
        dataclasses.replace(check, **{name: array[..., None]})
