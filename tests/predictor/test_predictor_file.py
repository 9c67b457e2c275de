"""A predictor file written by another release loads, and its estimates are what they were.

``tests/data/predictors`` holds a small predictor in the present format, and the estimates that it
made of three networks when it was written.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accuracy_from_weights import load_predictor

FOLDER = Path(__file__).parents[1] / "data" / "predictors"


@pytest.mark.filterwarnings("ignore:The network is unlike")
def test_a_file_written_earlier_gives_the_same_estimates() -> None:
    predictor = load_predictor(FOLDER / "small.predictor")
    for expected in json.loads((FOLDER / "small.json").read_text(encoding="utf-8")):
        estimate = predictor.estimate(FOLDER / expected.pop("network"))
        for name, value in expected.items():
            assert getattr(estimate, name) == pytest.approx(value, abs=1e-4), name
