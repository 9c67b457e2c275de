"""Tests that need frameworks which do not all install side by side: a folder for each.

A folder is collected only by a run that names it, as the tox environment of that framework does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.callbacks.scripted import notes_of_descriptions, save_small_predictor

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = [Path(argument.split("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True


@pytest.fixture(scope="session")
def predictor_file(tmp_path_factory) -> Path:
    shapes = {
        "hidden.weight": (8, 64),
        "hidden.bias": (8,),
        "last.weight": (10, 8),
        "last.bias": (10,),
    }
    return save_small_predictor(tmp_path_factory.mktemp("predictor"), shapes)


@pytest.fixture
def described(monkeypatch) -> list[dict]:
    """What each description of a network by a callback is given, in this test."""
    return notes_of_descriptions(monkeypatch)
