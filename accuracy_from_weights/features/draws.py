"""Random numbers that are the same on every machine and under every release of numpy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]


class Draws:
    """Random numbers from raw bits, whose stream numpy promises never to change.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def uniform(self, low: float, high: float, *shape: int) -> _Floats:
        """Return numbers between `low` and `high`."""
        raw = np.asarray(self._bits.random_raw(math.prod(shape)), np.uint64) >> np.uint64(11)
        return low + (high - low) * (raw.astype(np.float64) * 2.0**-53).reshape(shape)

    def normal(self, *shape: int) -> _Floats:
        """Return numbers of a normal distribution of mean 0 and spread 1."""
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(0.0, 1.0, *shape)))
        return radius * np.cos(self.uniform(0.0, 2.0 * np.pi, *shape))

    def integers(self, low: int, high: int, *shape: int) -> NDArray[np.int64]:
        """Return whole numbers from `low` to ``high - 1``."""
        return np.minimum(self.uniform(low, high, *shape).astype(np.int64), high - 1)

    def order(self, n: int) -> NDArray[np.intp]:
        """Return the numbers from 0 to ``n - 1`` in random order."""
        return np.argsort(self.uniform(0.0, 1.0, n), kind="stable")
