"""Keras on whichever backend is installed."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

from accuracy_from_weights.errors import MissingDependencyError, needs

_BACKENDS = ("jax", "torch", "tensorflow")


def import_keras(extra: str = "keras") -> Any:
    """Import Keras; without ``KERAS_BACKEND``, on a backend that is installed.

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
        found = (name for name in _BACKENDS if importlib.util.find_spec(name) is not None)
        backend = next(found, None)
        if backend is None:
            raise MissingDependencyError(
                f"Keras needs one of {', '.join(_BACKENDS)} to run a network, and none is "
                "installed; run pip install 'accuracy-from-weights[demo]'."
            )
        os.environ["KERAS_BACKEND"] = backend
    backend = os.environ.get("KERAS_BACKEND", "chosen before")
    with needs(f"This needs Keras with its backend {backend!r}", extra=extra):
        import keras
    return keras
