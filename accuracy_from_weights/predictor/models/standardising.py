"""Standardised features: deviations from a zoo's mean, clipped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spread_of(X: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation of each column of finite numbers, of shape (n_features,).

    The deviation of a column that never varied is infinite, so that it does not blow up where it
    does vary.
    """
    centre = X.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = X.std(axis=0, dtype=np.float64).astype(np.float32)
    return centre, np.where(spread > 1e-6 * (1 + np.abs(centre)), spread, np.float32(np.inf))


def standardised(
    X: NDArray[np.float32],
    centre: NDArray[np.float32],
    scale: NDArray[np.float32],
    largest_step: float,
) -> NDArray[np.float32]:
    """Return features in standard deviations from the mean, clipped at `largest_step`."""
    return np.clip((X - centre) / scale, -largest_step, largest_step)
