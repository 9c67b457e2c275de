"""Settings that must stand before any framework is imported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Keras' own default is TensorFlow, which the tests do without.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each of several processes takes one core: threads that wait for each other cost minutes.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Processes that tests start find the package and the tests' helpers.
ROOT = str(Path(__file__).parents[1])
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))

# The same examples in every run, and no verdict by the clock of a busy machine.
settings.register_profile("reproducible", derandomize=True, deadline=None, database=None)
settings.load_profile("reproducible")


@pytest.fixture(autouse=True)
def estimates_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have callbacks estimate at each epoch, however busy the machine is."""
    monkeypatch.setattr("accuracy_from_weights.callbacks.cadence.FREE_SECONDS", float("inf"))
