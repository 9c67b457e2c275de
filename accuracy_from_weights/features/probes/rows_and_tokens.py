"""Synthetic rows of tables and token sequences, in five kinds as there are of images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.draws import Draws
from accuracy_from_weights.features.input_spec import InputSpec

_Floats = NDArray[np.float64]
_Tokens = NDArray[np.int64]

_SEED = 20170612
_NUDGE = 0.1
# Rows have unit spread before they are brought into [-1, 1], where few are cut.
_LARGEST_DEVIATION = 2.5
_FACTORS = 3
_REPLACED = 0.1
_FEW = 4


def table_inputs(spec: InputSpec, n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw rows in [-1, 1] whose columns have equal spread, and the same ones with noise.

    In the order of the kinds of images: columns that move together, columns spread evenly, mostly
    empty rows, independent columns, columns of two values.

    Parameters
    ----------
    spec : InputSpec
    n : int
        Rows of each kind.

    Returns
    -------
    inputs, nudged : ndarray of shape (5 * n, 1, 1, columns), float32
    """
    (columns,) = spec.shape
    draws = Draws(_SEED)
    together = draws.normal(n, _FACTORS) @ draws.normal(_FACTORS, columns) / np.sqrt(_FACTORS)
    even = draws.uniform(-np.sqrt(3.0), np.sqrt(3.0), n, columns)
    filled = draws.uniform(0.0, 1.0, n, columns) < max(0.15, 1.0 / columns)
    sparse = filled * draws.normal(n, columns) * 2.0
    apart = draws.normal(n, columns)
    binary = np.where(draws.uniform(0.0, 1.0, n, columns) < 0.5, -1.0, 1.0)
    rows = np.concatenate([together, even, sparse, apart, binary])
    nudged = rows + _NUDGE * draws.normal(*rows.shape)
    inputs, changed = (
        np.clip(values / _LARGEST_DEVIATION, -1.0, 1.0).astype(np.float32)[:, None, None]
        for values in (rows, nudged)
    )
    return inputs, changed


def token_inputs(spec: InputSpec, n: int) -> tuple[_Tokens, _Tokens]:
    """Draw token sequences, and the same ones with about a tenth of the tokens replaced.

    In the order of the kinds of images: sequences of few different tokens, of all tokens alike,
    of one token with short runs of others between, of some tokens far more often than others, and
    of a motif that repeats.

    Parameters
    ----------
    spec : InputSpec
        Token 0 is left out of all but small vocabularies, since it often stands for nothing.
    n : int
        Sequences of each kind.

    Returns
    -------
    inputs, nudged : ndarray of shape (5 * n, length), int64, read-only
    """
    (length,), vocabulary = spec.shape, spec.vocabulary or 1
    first = 1 if vocabulary > _FEW else 0
    draws = Draws(_SEED + 1)

    def tokens(*shape: int) -> _Tokens:
        return draws.integers(first, vocabulary, *shape)

    rows, place = np.arange(n)[:, None], np.arange(length)
    choice = draws.integers(0, 1 << 30, n, length)
    few = tokens(n, 8)[rows, choice % draws.integers(2, 9, n, 1)]
    alike = tokens(n, length)
    runs = np.repeat(draws.uniform(0.0, 1.0, n, -(-length // 2)) < 0.25, 2, axis=1)[:, :length]
    on_ground = np.where(runs, tokens(n, length), tokens(n, 1))
    # Zipf's law, by the inverse of its distribution; which tokens are frequent is drawn, too.
    ranks = np.exp(draws.uniform(0.0, np.log(vocabulary - first + 1), n, length)).astype(np.int64)
    frequent = first + (ranks - 1 + tokens(1)) % max(vocabulary - first, 1)
    period = draws.integers(2, max(min(9, length), 3), n, 1)
    motif = tokens(n, 8)[rows, (place % period) % 8]
    inputs = np.concatenate([few, alike, on_ground, frequent, motif])
    is_new = draws.uniform(0.0, 1.0, *inputs.shape) < _REPLACED
    # One at least: a short sequence would else stay what it is.
    is_new[np.arange(len(inputs)), draws.integers(0, length, len(inputs))] = True
    nudged = np.where(is_new, tokens(*inputs.shape), inputs)
    for values in (inputs, nudged):
        values.flags.writeable = False
    return inputs, nudged
