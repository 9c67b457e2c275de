"""The example for the Trainer of transformers."""

from __future__ import annotations

import re

from example_runs import run_example


def test_it_trains_and_keeps_its_best():
    text = run_example("huggingface_trainer")
    assert len(re.findall(r"epoch \d  estimate 0\.\d+", text)) >= 3
    assert float(re.search(r"true accuracy of the best: (\S+)", text)[1]) > 0.3
