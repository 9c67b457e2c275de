from __future__ import annotations

from pathlib import Path

import pytest

from tests.callbacks.scripted import notes_of_descriptions, save_small_predictor


@pytest.fixture(scope="session")
def predictor_file(tmp_path_factory) -> Path:
    shapes = {
        "0.weight": (4, 1, 3, 3),
        "0.bias": (4,),
        "3.weight": (10, 4),
        "3.bias": (10,),
    }
    return save_small_predictor(tmp_path_factory.mktemp("predictor"), shapes)


@pytest.fixture
def described(monkeypatch) -> list[dict]:
    """What each description of a network by a callback is given, in this test."""
    return notes_of_descriptions(monkeypatch)
