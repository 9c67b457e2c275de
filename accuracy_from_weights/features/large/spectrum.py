"""The spectrum of a large kernel without its decomposition.

Known are the sum of the eigenvalues of ``K @ K.T``, the sum of their squares, and the largest few.
Eigenvalues that stand out are counted one by one. The others are taken for those of noise with
the same sum and sum of squares, whose edges and entropy have a closed form (Marchenko & Pastur
1967; Page 1993, "Average entropy of a subsystem": entropy ``log(n) - gamma / 2`` for n
eigenvalues whose squares' mean is ``1 + gamma`` times their mean's square).
"""

from __future__ import annotations

import numpy as np

from accuracy_from_weights.features.numbers import TINY, FloatArray, log


def spectral_statistics(
    leading: FloatArray, total: float, rest_squared: FloatArray, out: int, rank: int
) -> dict[str, float]:
    """Statistics as `layer_statistics` gives them, for one kernel.

    Parameters
    ----------
    leading : ndarray of shape (k,)
        The largest eigenvalues, descending.
    total : float
        Sum of the eigenvalues.
    rest_squared : ndarray of shape (k + 1,)
        Sum of the squares of all eigenvalues, of all but the largest, of all but the two largest...
    out : int
        Neurons.
    rank : int
        Number of eigenvalues.
    """
    for n_apart in range(len(leading) + 1):
        rest = max(total - leading[:n_apart].sum(), 0.0)
        n_rest = max(rank - n_apart, 1)
        mean = rest / n_rest
        ratio = rest_squared[n_apart] * n_rest / max(rest**2, TINY**2)
        gamma = min(max(ratio - 1, 0.0), 1.0)
        edge = mean * (1 + np.sqrt(gamma)) ** 2
        if n_apart == min(len(leading), rank - 1) or leading[n_apart] <= edge:
            break
    largest = max(leading[0] if n_apart else edge, total / rank)
    share = leading[:n_apart] / max(total, TINY)
    rest_share = rest / max(total, TINY)
    # Beyond what noise can be, the logarithm: it is so for eigenvalues spread log-normally.
    missing = gamma / 2 if ratio <= 2 else 0.5 + 0.5 * np.log(ratio / 2)
    missing = min(missing, np.log(n_rest))
    entropy = -(share * log(share)).sum()
    entropy -= rest_share * (log(rest_share) - np.log(n_rest) + missing)
    smallest = max((1 - np.sqrt(gamma)) ** 2, 1 / rank**2) * mean * rank / max(total, TINY)
    squared = (leading[:n_apart] ** 2).sum() + rest_squared[n_apart]
    return {
        "log_spectral_norm": 0.5 * log(largest / max(out, 1)),
        "stable_rank": total / max(largest, TINY) / rank,
        "spectral_entropy": entropy / max(np.log(rank), 1.0),
        "participation_ratio": min(total**2 / max(squared, TINY**2) / rank, 1.0),
        "smallest_singular": 0.5 * log(smallest + 1e-8),
    }
