from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accuracy_from_weights.predictor.intervals import (
    LEVELS,
    conformal_widths,
    unit_weights,
    width_at,
)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=60))
def test_every_run_weighs_the_same(runs):
    weights = unit_weights(runs)
    assert weights.sum() == pytest.approx(1)
    of_run = [weights[np.array(runs) == run].sum() for run in set(runs)]
    assert of_run == pytest.approx([1 / len(of_run)] * len(of_run))


def test_one_row_a_run_is_the_textbook_quantile():
    scores = np.arange(1, 100)  # 99 runs: the 90th of 100 ranks is the score 90
    assert conformal_widths(scores, np.arange(99), [0.9])[0] == 90


def test_too_few_runs_promise_nothing():
    assert conformal_widths([1.0, 2, 3], [0, 1, 2], [0.9])[0] == np.inf
    assert conformal_widths([1.0, 2, 3], [0, 1, 2], [0.75])[0] == 3


@settings(max_examples=50)
@given(st.lists(st.floats(0, 10), min_size=5, max_size=50), st.integers(1, 20))
def test_wider_for_more_coverage(scores, n_runs):
    widths = conformal_widths(scores, np.arange(len(scores)) % n_runs)
    assert (np.diff(widths[np.isfinite(widths)]) >= 0).all()


def test_a_long_run_does_not_outvote_the_others():
    scores = np.concatenate([np.full(1000, 9.0), np.arange(19) / 19])
    runs = np.concatenate([np.zeros(1000, int), np.arange(1, 20)])
    assert conformal_widths(scores, runs, [0.9])[0] < 9


def test_covers_unseen_runs_as_often_as_stated():
    """Runs with a common error and few checkpoints: the level holds on average over many draws."""
    generator = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        common = generator.exponential(size=(60, 1))
        scores = common * generator.uniform(0.8, 1.2, (60, 4))
        width = conformal_widths(scores[:59].ravel(), np.repeat(np.arange(59), 4), [0.8])[0]
        covered.append((scores[59] <= width).mean())
    assert np.mean(covered) == pytest.approx(0.8, abs=0.05)


def test_width_at_takes_the_next_level_kept():
    widths = LEVELS * 10
    assert width_at(widths, 0.9) == pytest.approx(9)
    assert width_at(widths, 0.901) == pytest.approx(9.1)
    assert width_at(widths, 0.9999) == np.inf
