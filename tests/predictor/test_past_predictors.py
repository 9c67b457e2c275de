"""Predictor files of past releases load under this one and say what they said then.

``tests/data/predictors`` holds, for each version of the file format, a small predictor as a release
wrote it, and what it then said of three networks.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accuracy_from_weights import load_predictor

FOLDER = Path(__file__).parents[1] / "data" / "predictors"
FILES = sorted(FOLDER.glob("*.predictor"))


def test_every_version_of_the_format_is_there() -> None:
    from accuracy_from_weights.predictor.archive import FORMAT_VERSION

    versions = {int(file.stem.rpartition("-")[2]) for file in FILES}
    assert versions == set(range(1, FORMAT_VERSION + 1)), (
        "keep a small predictor of each version of the format, see CONTRIBUTING.md"
    )


@pytest.mark.filterwarnings("ignore:The network is unlike")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_predictor_of_a_past_release_says_what_it_said(file: Path) -> None:
    predictor = load_predictor(file)
    for expected in json.loads(file.with_suffix(".json").read_text(encoding="utf-8")):
        estimate = predictor.estimate(FOLDER / expected.pop("network"))
        for name, value in expected.items():
            assert getattr(estimate, name) == pytest.approx(value, abs=1e-4), name
