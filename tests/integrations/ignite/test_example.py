"""The example for Ignite."""

from __future__ import annotations

from tests.examples.example_runs import check_training


def test_the_example_stops_on_the_estimate_and_learns():
    check_training("ignite_trainer")
