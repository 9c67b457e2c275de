"""Tests that need frameworks which do not all install side by side: a folder for each.

A folder is collected only by a run that names it, as the tox environment of that framework does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
from tests.callbacks.scripted import notes_of_descriptions

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = [Path(argument.split("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True


@pytest.fixture(scope="session")
def predictor_file(tmp_path_factory) -> Path:
    """A real predictor on disk, fitted to random networks whose scale tells their accuracy."""
    rng = np.random.default_rng(0)
    scales = np.exp(rng.uniform(-2, 1, 40))
    networks = [
        {
            "hidden.weight": scale * rng.normal(size=(8, 64)) / 8,
            "hidden.bias": rng.normal(size=8) / 10,
            "last.weight": scale * rng.normal(size=(10, 8)) / 3,
            "last.bias": rng.normal(size=10) / 10,
        }
        for scale in scales
    ]
    predictor = AccuracyPredictor(n_folds=2).fit(networks, scales / (1 + scales))
    path = tmp_path_factory.mktemp("predictor") / "small.predictor"
    predictor.save(path)
    return path


@pytest.fixture
def described(monkeypatch) -> list[dict]:
    """What each description of a network by a callback is given, in this test."""
    return notes_of_descriptions(monkeypatch)
