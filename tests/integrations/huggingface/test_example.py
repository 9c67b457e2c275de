"""The example for the Trainer."""

from __future__ import annotations

from tests.examples.example_runs import check_training


def test_the_example_stops_on_the_estimate_and_learns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_training("huggingface_trainer")
    assert list(tmp_path.iterdir()) == []
