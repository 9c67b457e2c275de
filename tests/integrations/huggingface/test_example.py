"""The example for the Trainer."""

from __future__ import annotations

import re

from tests.examples.example_runs import run_example


def test_the_example_keeps_the_epoch_with_the_best_estimate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = run_example("huggingface_trainer")
    estimates = [float(value) for value in re.findall(r"epoch +\d+  estimate (\S+)\n", text)]
    kept, truth = re.search(r"kept epoch (\d+), whose true accuracy is (\S+)\n$", text).groups()
    assert 5 <= len(estimates) <= 20
    assert estimates[int(kept) - 1] == max(estimates)
    assert float(truth) > 0.6
    assert list(tmp_path.iterdir()) == []
