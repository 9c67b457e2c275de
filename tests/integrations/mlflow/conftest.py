"""A store of MLflow on disk, and no word of it to anybody."""

from __future__ import annotations

import os
from pathlib import Path

# Read when MLflow is imported.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"

import mlflow
import pytest


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    """The URI of an SQLite store whose artifacts lie beside it, made MLflow's own choice."""
    folder: Path = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    before = Path.cwd()
    os.chdir(folder)  # artifacts are kept relative to where MLflow is
    mlflow.set_tracking_uri(uri)
    yield uri
    os.chdir(before)
