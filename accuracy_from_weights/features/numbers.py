"""Arithmetic that all features share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

TINY = 1e-12

DIVERGED = 1e6
"""Beyond it a weight has diverged; clipping it keeps fourth powers inside float32."""


def log(values: FloatArray) -> FloatArray:
    """Natural logarithm, floored so that a dead tensor gives about -28 and not minus infinity."""
    return np.log(np.maximum(values, TINY))


def spread(values: FloatArray) -> dict[str, FloatArray]:
    """Coefficient of variation, smallest and largest over mean, along the last axis."""
    mean = np.maximum(values.mean(axis=-1), TINY)
    return {
        "cv": values.std(axis=-1) / mean,
        "min": values.min(axis=-1) / mean,
        "max": values.max(axis=-1) / mean,
    }
