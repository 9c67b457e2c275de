"""Arithmetic that all features share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

TINY = 1e-12

DIVERGED = 1e6
"""Beyond it a weight has diverged; clipping it keeps fourth powers inside float32."""


def log(values: FloatArray) -> FloatArray:
    """Natural logarithm, floored so that a dead tensor gives about -28 and not minus infinity."""
    return np.log(np.maximum(values, TINY))


def quantiles(values: FloatArray, shares: Sequence[float]) -> FloatArray:
    """Give what `numpy.quantile` gives along the last axis, in a fraction of the time.

    Parameters
    ----------
    values : ndarray of shape (n, m)
        Finite, m at least 1.
    shares : sequence of k floats in [0, 1]

    Returns
    -------
    ndarray of shape (k, n)
    """
    ordered, most = np.sort(values, axis=1), values.shape[1] - 1
    places = np.array(shares) * most
    below = places.astype(np.intp)
    low, high = ordered[:, below], ordered[:, np.minimum(below + 1, most)]
    part, step = places - below, high - low
    # From the nearer end, so that equal neighbours and the last value come out exact.
    found: FloatArray = np.where(part < 0.5, low + step * part, high - step * (1 - part))
    return found.T


def spread(values: FloatArray) -> dict[str, FloatArray]:
    """Coefficient of variation, smallest and largest over mean, along the last axis."""
    mean = np.maximum(values.mean(axis=-1), TINY)
    return {
        "cv": values.std(axis=-1) / mean,
        "min": values.min(axis=-1) / mean,
        "max": values.max(axis=-1) / mean,
    }
