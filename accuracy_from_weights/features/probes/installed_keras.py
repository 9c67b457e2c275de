"""Keras on whichever backend is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

from accuracy_from_weights.errors import MissingDependencyError, needs

_BACKENDS = ("jax", "torch", "tensorflow")


def import_keras(extra: str = "keras") -> Any:
    """Import Keras on the backend that is asked for, or else on one that is installed.

    ``KERAS_BACKEND`` asks for one, and so does ``keras.json``, where that backend is installed:
    Keras writes its own default, TensorFlow, there by itself.

    Parameters
    ----------
    extra : str, default "keras"
        The package's extra that installs what is missing.

    Raises
    ------
    MissingDependencyError
        When Keras or every backend is missing.
    """
    if "keras" not in sys.modules and not os.environ.get("KERAS_BACKEND"):
        wanted = [name for name in _configured() if name in _BACKENDS]
        found = (n for n in (*wanted, *_BACKENDS) if importlib.util.find_spec(n) is not None)
        backend = next(found, None)
        if backend is None:
            raise MissingDependencyError(
                f"Keras needs one of {', '.join(_BACKENDS)} to run a network, and none is "
                "installed; run pip install 'accuracy-from-weights[demo]'."
            )
        os.environ["KERAS_BACKEND"] = backend
    with needs(f"This needs Keras with its backend {os.environ.get('KERAS_BACKEND')!r}", extra):
        import keras
    return keras


def _configured() -> list[str]:
    """Return the backend that Keras' own file of settings names, if any."""
    try:
        folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        return [str(json.loads((folder / "keras.json").read_text(encoding="utf-8"))["backend"])]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return []
