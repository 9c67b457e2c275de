"""Estimate a neural network's accuracy from its weights alone: no data, no labels.

The public names load on first use, so that importing the package costs next to nothing and
brings in no framework.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor, Estimate
    from accuracy_from_weights.predictor.pretrained import load_predictor
    from accuracy_from_weights.weights import read_weights

__version__ = metadata.version("accuracy-from-weights")

__all__ = ["AccuracyPredictor", "Estimate", "__version__", "load_predictor", "read_weights"]

_HOMES = {
    "AccuracyPredictor": "accuracy_from_weights.predictor.accuracy_predictor",
    "Estimate": "accuracy_from_weights.predictor.accuracy_predictor",
    "load_predictor": "accuracy_from_weights.predictor.pretrained",
    "read_weights": "accuracy_from_weights.weights",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
