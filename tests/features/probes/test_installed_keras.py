"""Keras is imported on a backend that is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from accuracy_from_weights.errors import MissingDependencyError
from accuracy_from_weights.features.probes.installed_keras import import_keras


def test_no_backend_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"accuracy-from-weights\[demo\]"):
        import_keras()


@pytest.mark.parametrize(
    ("configured", "taken"), [(None, "jax"), ("tensorflow", "jax"), ("torch", "torch")]
)
def test_an_installed_backend_is_taken_where_none_is_asked_for(
    configured: str | None, taken: str, tmp_path: Path
) -> None:
    """Keras' own default is TensorFlow, which need not be there."""
    if configured is not None:
        (tmp_path / "keras.json").write_text(json.dumps({"backend": configured}))
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    environment["KERAS_HOME"] = str(tmp_path)
    code = (
        "from accuracy_from_weights.features.probes.installed_keras import import_keras\n"
        "print(import_keras().backend.backend())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == taken
