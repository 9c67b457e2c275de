"""Arithmetic that all features share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

TINY = 1e-12

DIVERGED = 1e6
"""Beyond it a weight has diverged; clipping it keeps fourth powers inside float32."""


_WORTH_NARROWING, _SAMPLE = 2**14, 2**12


def log(values: FloatArray) -> FloatArray:
    """Natural logarithm, floored so that a dead tensor gives about -28 and not minus infinity."""
    return np.log(np.maximum(values, TINY))


def quantiles(values: FloatArray, shares: Sequence[float]) -> FloatArray:
    """Return what `numpy.quantile` gives along the last axis, in a fraction of the time.

    Parameters
    ----------
    values : ndarray of shape (n, m)
        Finite, m at least 1.
    shares : sequence of k floats in [0, 1]

    Returns
    -------
    ndarray of shape (k, n)
    """
    most = values.shape[1] - 1
    places = np.array(shares) * most
    below = places.astype(np.intp)
    ranks = np.concatenate([below, np.minimum(below + 1, most)])
    low, high = np.split(at_ranks(values, ranks), 2, axis=1)
    part, step = places - below, high - low
    # From the nearer end, so that equal neighbours and the last value come out exact.
    found: FloatArray = np.where(part < 0.5, low + step * part, high - step * (1 - part))
    return found.T


def at_ranks(values: FloatArray, ranks: NDArray[np.intp]) -> FloatArray:
    """Return what stands at some places of each sorted row.

    Parameters
    ----------
    values : ndarray of shape (n, m)
        Finite.
    ranks : ndarray of shape (k,)
        From 0 to m - 1.

    Returns
    -------
    ndarray of shape (n, k)
    """
    if len(values) > 1 or values.shape[1] < _WORTH_NARROWING:
        return np.sort(values, axis=1)[:, ranks]
    (row,) = values
    sample = np.sort(row[:: len(row) // _SAMPLE])
    found: dict[int, np.floating] = {}
    for rank in sorted({0, len(row) - 1, *map(int, ranks)}):
        if rank not in found:
            found |= _near(row, sample, rank)
    return np.array([found[int(rank)] for rank in ranks], values.dtype)[None]


def _near(row: FloatArray, sample: FloatArray, rank: int) -> dict[int, np.floating]:
    """Return what stands at a rank and the next of a row, by sorting a small part of it.

    A sorted sample of the row tells between which values they lie, in all likelihood; counting
    tells for certain, and where the guess was wrong the whole row is sorted.
    """
    share = rank / len(row)
    margin = 3 * math.sqrt(share * (1 - share) * len(sample)) + 2
    first, last = share * len(sample) - margin, share * len(sample) + margin
    low = sample[int(first)] if first > 0 else -np.inf
    high = sample[int(last) + 1] if last < len(sample) - 1 else np.inf
    window = row[(row >= low) & (row <= high)]
    n_below = int(np.count_nonzero(row < low))
    pair = np.array([rank, min(rank + 1, len(row) - 1)])
    if n_below > pair[0] or pair[1] >= n_below + len(window):
        window, n_below = row, 0
    window = np.partition(window, pair - n_below)
    return {int(place): window[place - n_below] for place in pair}


def spread(values: FloatArray) -> dict[str, FloatArray]:
    """Coefficient of variation, smallest and largest over mean, along the last axis."""
    mean = np.maximum(values.mean(axis=-1), TINY)
    return {
        "cv": values.std(axis=-1) / mean,
        "min": values.min(axis=-1) / mean,
        "max": values.max(axis=-1) / mean,
    }
