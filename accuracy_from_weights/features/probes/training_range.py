"""The range of the numbers that a network was trained on, told by its first batch normalisation.

Pixels lie between 0 and 1 in one program, around 0 in the next. A network does not say which, and
inputs in another range drive it far from everything that it has learnt: of digits between 0 and 1,
probes between -1 and 1 reach the first batch normalisation with 2.3 times, the third with 4.7 times
the spread that its running statistics hold, and nearly all are answered with two or three classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

_LIMITS = 1e-3, 1e3
# Inputs that are enough to see what reaches a normalisation.
_FEW = 32
# Keeps the offset small where constant inputs hardly reach the normalisation.
_RIDGE = 0.01
_TINY = 1e-12


class Moments(NamedTuple):
    """What reaches a batch normalisation of c channels, and what it expects.

    All have the shape (c,).
    """

    mean: _Floats
    variance: _Floats
    running_mean: _Floats
    running_variance: _Floats


def expected_range(
    moments_at: Callable[[NDArray[Any]], Moments | None], inputs: NDArray[Any]
) -> tuple[float, float]:
    """Return the factor and the offset that bring inputs into the range of the training data.

    What reaches the first batch normalisation is compared with its running statistics: the factor
    is that of the spreads, and the offset fits the means. Both are taken for linear in the inputs,
    as they are before the first activation.

    Parameters
    ----------
    moments_at : callable
        Returns what reaches the first batch normalisation from some inputs; None where there is
        no such layer.
    inputs : ndarray of shape (n, ...)
        A few of them are enough.

    Returns
    -------
    factor, offset : float
        1 and 0 where there is no such layer, or where what they change comes no closer.
    """
    inputs = inputs[:: max(len(inputs) // _FEW, 1)]
    seen = moments_at(inputs)
    if seen is None:
        return 1.0, 0.0
    at_zero, at_one = (moments_at(np.full_like(inputs[:1], value)) for value in (0.0, 1.0))
    if at_zero is None or at_one is None:
        return 1.0, 0.0
    spread = np.sqrt(np.maximum(seen.running_variance, _TINY))
    with np.errstate(all="ignore"):
        ratio = spread / np.sqrt(np.maximum(seen.variance, _TINY))
        factor = float(np.clip(np.exp(np.log(ratio).mean()), *_LIMITS))
        # In units of the new range: of pixels up to 255, an offset of 1 is next to nothing.
        per_unit = factor * (at_one.mean - at_zero.mean) / spread
        missing = seen.running_mean - at_zero.mean - factor * (seen.mean - at_zero.mean)
        offset = factor * float((missing / spread * per_unit).sum())
        offset /= float((per_unit**2).sum()) + _RIDGE * len(spread)
    if not np.isfinite(factor * offset):
        return 1.0, 0.0
    changed = moments_at((factor * inputs + offset).astype(inputs.dtype))
    if changed is None or not _divergence(changed) < _divergence(seen):
        return 1.0, 0.0
    return factor, offset


def _divergence(seen: Moments) -> float:
    """Return how far normal distributions of what is seen are from those that are expected."""
    expected = np.maximum(seen.running_variance, _TINY)
    ratio = np.maximum(seen.variance / expected, _TINY)
    off = (seen.mean - seen.running_mean) ** 2 / expected
    return float((ratio - 1 - np.log(ratio) + off).mean())
