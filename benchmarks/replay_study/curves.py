"""A curve through the true accuracies so far, which a forecast has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_EXPONENTS = np.geomspace(0.1, 4, 24)


def extrapolated(accuracies: Floats, steps: Floats, n_seen: int) -> Floats:
    """Fit ``a - b (step + 1) ** -c`` to the first checkpoints and read it off at the last step.

    The power law with three parameters is among the curves that fit learning curves best
    (Domhan, Springenberg & Hutter 2015; Viering & Loog 2022).

    Parameters
    ----------
    accuracies : ndarray of shape (n_runs, n_checkpoints)
    steps : ndarray of shape (n_checkpoints,)
    n_seen : int
        How many checkpoints are seen; with fewer than three the accuracy stays as it is.

    Returns
    -------
    ndarray of shape (n_runs,)
        Fractions in [0, 1].
    """
    seen = accuracies[:, :n_seen]
    if n_seen < 3:
        return seen[:, -1]
    best, found = np.full(len(seen), np.inf), seen[:, -1].copy()
    for exponent in _EXPONENTS:
        basis = (steps + 1.0) ** -exponent
        x = basis[:n_seen] - basis[:n_seen].mean()
        # Learning curves rise: where the fit falls, a constant is the best that rises.
        slope = np.minimum((seen - seen.mean(axis=1, keepdims=True)) @ x / (x @ x), 0)
        level = seen.mean(axis=1) - slope * basis[:n_seen].mean()
        errors = ((level[:, None] + slope[:, None] * basis[:n_seen] - seen) ** 2).sum(axis=1)
        better = errors < best
        best = np.where(better, errors, best)
        found = np.where(better, level + slope * basis[-1], found)
    return np.clip(found, 0, 1)
