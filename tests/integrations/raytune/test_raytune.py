"""The recipe for Ray Tune on real training: report the estimate, and let the scheduler decide."""

from __future__ import annotations

import re

import pytest
import ray

from tests.examples.example_runs import run_example


@pytest.fixture
def cluster_of_one_test():
    yield
    ray.shutdown()


@pytest.mark.usefixtures("cluster_of_one_test")
def test_the_scheduler_ends_slow_learners_early_and_finds_a_good_rate():
    text = run_example("ray_tune_search")
    trials = re.findall(r"rate (\S+)  (\d) epochs  estimate (\S+)  truth (\S+)\n", text)
    assert [float(rate) for rate, *_ in trials] == [3e-3, 1e-2, 1e-3, 1e-4, 1e-5]
    epochs = [int(count) for _, count, *_ in trials]
    assert epochs[0] == 8
    assert epochs[3:] == [2, 2]
    best = float(re.search(r"best by its estimate: {'learning_rate': (\S+)}\n$", text)[1])
    truths = {float(rate): float(truth) for rate, _, _, truth in trials}
    assert truths[best] > max(truths.values()) - 0.15
    estimates = {float(rate): float(estimate) for rate, _, estimate, _ in trials}
    assert estimates[best] == max(estimates.values())
