from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
from tests.callbacks.scripted import notes_of_descriptions


@pytest.fixture(scope="session")
def predictor_file(tmp_path_factory) -> Path:
    """A real predictor on disk, fitted to random networks whose scale tells their accuracy."""
    rng = np.random.default_rng(0)
    scales = np.exp(rng.uniform(-2, 1, 40))
    networks = [
        {
            "0.weight": scale * rng.normal(size=(4, 1, 3, 3)) / 3,
            "0.bias": rng.normal(size=4) / 10,
            "3.weight": scale * rng.normal(size=(10, 4)) / 2,
            "3.bias": rng.normal(size=10) / 10,
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
