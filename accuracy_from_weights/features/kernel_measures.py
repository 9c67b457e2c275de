"""What one pass over kernels of one shape gives, and what a fixed sample of their weights adds.

A kernel is a matrix of neurons by what they see (inputs times positions). One pass gives each
neuron's and each input's sum and sum of squares, and the extremes. All else comes from at most
`_NEURONS` neurons and `_VALUES` weights, chosen at evenly spaced ranks of the neurons' and the
inputs' power, so that the choice does not depend on the order in which neurons stand. Of a kernel
no larger than that, all weights are looked at, and all numbers are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.array_ops import (
    DIVERGED,
    TINY,
    ArrayLike,
    FloatArray,
    clipped,
    columns,
    constant,
    dot,
    floored,
    in_batches,
    namespace_of,
    sorted_rows,
)
from accuracy_from_weights.features.kernel_sums import BLOCK, as_matrices, kernel_sums

_NEURONS = 32
_FEW_NEURONS, _FEW_WEIGHTS = 64, 2**16
"""Of a kernel of no more, all neurons are looked at."""

_VALUES, _FEW_VALUES = 2**11, 2**12
"""Weights sampled of a kernel; of one that has no more than a few, all are."""

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_SHARES = (0, 1, *_QUANTILES)
_SHARE_NAMES = ("lowest", "highest", *(f"q{round(100 * q)}" for q in _QUANTILES))
_SPREAD_NAMES = ("total", "roots", "least", "most", "concentration")
_NUMBERS = (
    *(f"{side}_{name}" for side in ("below", "above") for name in _SHARE_NAMES),
    *("sample_sum", "sample_squares", "cubes", "fourths", "absolutes"),
    *("top_share", "sum_of_squares", "own_squares", "cosine"),
    *(f"neuron_{name}" for name in _SPREAD_NAMES),
    *(f"input_{name}" for name in _SPREAD_NAMES),
    *("sum", "row_sums", "column_sum", "column_sums"),
    "smoothness",
    "largest",
)
"""Names of the numbers of `KernelMeasures`. What can be left to `kernel_statistics` is."""

N_KERNEL_NUMBERS = len(_NUMBERS)


@dataclass(frozen=True, eq=False)
class KernelMeasures:
    """What is known of one layer's kernels, of n networks.

    Attributes
    ----------
    numbers : tuple of arrays of shape (n, ...)
        Together the numbers of `_NUMBERS`, which `kernel_statistics` reads.
    neuron_squares : array of shape (n, neurons)
        Sum of the squares of the weights into each neuron.
    input_squares : array of shape (n, inputs)
        Sum of the squares of the weights out of each input.
    gram : array of shape (n, k, k)
        Products of the pairs of the neurons that were looked at.
    n_sampled : int
        How many weights were.
    """

    numbers: tuple[ArrayLike, ...]
    neuron_squares: ArrayLike
    input_squares: ArrayLike
    gram: ArrayLike
    n_sampled: int


class _Looked(NamedTuple):
    """What is kept of a kernel after it has been passed over."""

    row_sums: ArrayLike
    neuron_squares: ArrayLike
    column_sums: ArrayLike
    largest: ArrayLike
    input_squares: ArrayLike
    gram: ArrayLike
    spectrum_gram: ArrayLike
    sample: ArrayLike


def measure(
    kernels: Sequence[ArrayLike], gains: Sequence[ArrayLike | None]
) -> list[KernelMeasures]:
    """Measure the kernels of n networks' layers.

    Parameters
    ----------
    kernels : sequence of arrays of shape (n, neurons, inputs, *spatial)
    gains : sequence of arrays of shape (n, neurons), or None
        What multiplies a kernel's rows.

    Returns
    -------
    list of KernelMeasures
    """
    n_layers = len(kernels)
    looked = in_batches(_look, kernels, gains, most=BLOCK[namespace_of(kernels[0]).__name__])
    squares = [one.neuron_squares for one in looked] + [one.input_squares for one in looked]
    spreads = in_batches(_spread, squares)
    sums = in_batches(
        _sums_of, [one.row_sums for one in looked] + [one.column_sums for one in looked]
    )
    values = [one.sample.reshape(len(one.sample), -1) for one in looked]
    numbers = zip(
        in_batches(_sample_measures, values),
        in_batches(_gram_measures, [one.spectrum_gram for one in looked]),
        spreads[:n_layers],
        spreads[n_layers:],
        sums[:n_layers],
        sums[n_layers:],
        in_batches(_smoothness, [one.sample for one in looked]),
        [one.largest[:, None] for one in looked],
        strict=True,
    )
    return [
        KernelMeasures(parts, one.neuron_squares, one.input_squares, one.gram, chosen.shape[1])
        for one, parts, chosen in zip(looked, numbers, values, strict=True)
    ]


def kernel_statistics(
    numbers: FloatArray, measures: Sequence[KernelMeasures]
) -> dict[str, NDArray[Any]]:
    """Work out statistics of all layers at once from what was measured of each.

    Parameters
    ----------
    numbers : ndarray of shape (n, n_layers, N_KERNEL_NUMBERS)
    measures : sequence of KernelMeasures
        Of the layers.

    Returns
    -------
    dict of str to ndarray of shape (n, n_layers)
    """
    of = {name: numbers[..., k] for k, name in enumerate(_NUMBERS)}
    m = np.array([found.n_sampled for found in measures], float)
    k = len(_SHARES)
    shares = between(numbers[..., :k], numbers[..., k : 2 * k], m, _SHARES)
    statistics = {name: shares[..., i] for i, name in enumerate(_SHARE_NAMES)}
    statistics |= {
        "sample_mean": of["sample_sum"] / m,
        "sample_deviation": np.sqrt(np.maximum(of["sample_squares"] / m, TINY)),
        "skewness": of["cubes"] / m,
        "kurtosis": of["fourths"] / m,
        "mean_absolute": of["absolutes"] / m,
        "is_finite": np.isfinite(of["largest"]),
    }
    for side in ("neuron", "input"):
        # In single precision, as the sums are: what they differ by from equal norms is rounding.
        total, roots, least, most = (
            of[f"{side}_{name}"].astype(np.float32) for name in _SPREAD_NAMES[:4]
        )
        widths = [getattr(found, f"{side}_squares").shape[1] for found in measures]
        width = np.array(widths, np.float32)
        mean = np.maximum(roots / width, np.float32(1e-15))
        statistics |= {
            f"{side}_cv": np.sqrt(np.maximum(total / width / (mean * mean) - 1, 0)),
            f"{side}_min": np.sqrt(least) / mean,
            f"{side}_max": np.sqrt(most) / mean,
        }
    return of | statistics


def _look(kernel: ArrayLike, gain: ArrayLike | None) -> _Looked:
    """Pass over kernels of one shape, and take what is looked at more closely."""
    n, out, inputs = kernel.shape[:3]
    spatial = tuple(kernel.shape[3:])
    fan_in = inputs * math.prod(spatial)
    sums = kernel_sums(kernel, gain)
    input_squares = sums.column_squares
    if spatial:
        input_squares = input_squares.reshape(n, inputs, -1).sum(-1)
    chosen = _chosen(kernel, gain, sums.row_squares)
    gram = chosen @ chosen.swapaxes(1, 2)
    k = chosen.shape[1]
    is_narrow = fan_in < k == out  # the same eigenvalues but for zeros
    spectrum_gram = chosen.swapaxes(1, 2) @ chosen if is_narrow else gram
    sample = _sample(chosen, input_squares, spatial)
    return _Looked(
        sums.rows,
        sums.row_squares,
        sums.columns,
        sums.largest,
        input_squares,
        gram,
        spectrum_gram,
        sample,
    )


def _sums_of(values: ArrayLike) -> ArrayLike:
    """Return the rows' sums, and the sums of their squares."""
    return columns([values.sum(-1), dot(values, values)])


def _even_ranks(n: int, wanted: int) -> np.ndarray:
    return ((np.arange(wanted) + 0.5) * (n / wanted)).astype(np.int64)


def _chosen(kernel: ArrayLike, gain: ArrayLike | None, squares: ArrayLike) -> ArrayLike:
    """Copy the chosen neurons, of shape (n, k, fan_in); all where they are few."""
    xp = namespace_of(kernel)
    n, out = kernel.shape[:2]
    if out > _FEW_NEURONS or out * math.prod(kernel.shape[2:]) > _FEW_WEIGHTS:
        k = min(out, _NEURONS)
        places = xp.argsort(squares, -1)[:, constant(kernel, _even_ranks, out, k)]
        networks = constant(kernel, np.arange, n)[:, None]
        kernel = kernel[networks, places]
        gain = None if gain is None else gain[networks, places]
    block = as_matrices(kernel)
    if gain is not None:
        block = block * gain[:, :, None]
    if xp is np and not squares.max() > DIVERGED:
        return block
    return clipped(block)


def _sample(chosen: ArrayLike, input_squares: ArrayLike, spatial: tuple[int, ...]) -> ArrayLike:
    """Choose weights, of shape (n, k, inputs, *spatial) in any order of the first two of these."""
    xp = namespace_of(chosen)
    n, k, fan_in = chosen.shape
    inputs = input_squares.shape[1]
    shaped = chosen.reshape(n, k, inputs, *spatial)
    wanted = max(_VALUES // (k * math.prod(spatial)), 1)
    if k * fan_in <= _FEW_VALUES or inputs <= wanted:
        return shaped
    ranks = constant(chosen, _even_ranks, inputs, wanted)
    places = xp.argsort(input_squares, -1)[:, ranks]
    return shaped[constant(chosen, np.arange, n)[:, None], :, places]


def neighbours_of(ordered: ArrayLike, shares: tuple[float, ...]) -> ArrayLike:
    """Return what lies below, and what above, each share of sorted rows; of (n, 2 times shares)."""
    return ordered[:, constant(ordered, _neighbours, ordered.shape[1], shares)]


def _neighbours(m: int, shares: tuple[float, ...]) -> np.ndarray:
    low = (np.array(shares) * (m - 1)).astype(np.int64)
    return np.concatenate([low, np.minimum(low + 1, m - 1)])


def between(
    below: FloatArray, above: FloatArray, m: FloatArray, shares: tuple[float, ...]
) -> FloatArray:
    """Return the quantiles of m sorted values, between the neighbours of each in proportion.

    Parameters
    ----------
    below, above : ndarray of shape (n, ..., shares)
    m : ndarray of shape (...)
    """
    parts = (np.array(shares) * (m[..., None] - 1)) % 1
    return below + (above - below) * parts.astype(np.float32)


def _sample_measures(values: ArrayLike) -> ArrayLike:
    """Numbers of `_NUMBERS` up to the sums of absolute values, of rows."""
    xp = namespace_of(values)
    m = values.shape[1]
    total = values.sum(-1)
    off = values - (total / m)[:, None]
    own = dot(off, off)
    off = off / xp.sqrt(floored(own / m))[:, None]
    squares = off * off
    sums = [total, own, dot(squares, off), dot(squares, squares), xp.abs(off).sum(-1)]
    return xp.concatenate([neighbours_of(sorted_rows(values), _SHARES), columns(sums)], -1)


def _gram_measures(gram: ArrayLike) -> ArrayLike:
    """Return the share of the largest eigenvalue, two sums of squares, and the mean cosine."""
    xp = namespace_of(gram)
    k = gram.shape[1]
    diagonal = floored(_diagonal(gram))
    unit = gram / diagonal.sum(-1)[:, None, None]
    own = _diagonal(unit)
    inverse = 1 / xp.sqrt(diagonal)
    cosines = ((inverse[:, None] @ xp.abs(gram)) @ inverse[..., None])[:, 0, 0]
    flat = unit.reshape(-1, k * k)
    cosine = (cosines - k) / max(k * (k - 1), 1)
    return columns([largest_share(unit), dot(flat, flat), dot(own, own), cosine])


def _diagonal(gram: ArrayLike) -> ArrayLike:
    n, k = gram.shape[:2]
    return gram.reshape(n, k * k)[:, :: k + 1]


def _trace(gram: ArrayLike) -> ArrayLike:
    return _diagonal(gram).sum(-1)


def class_geometry(gram: ArrayLike) -> ArrayLike:
    """Return what a softmax feels of the last layer's rows: their mean row is taken away.

    Participation ratio over its largest value, largest share of a direction, and the mean row's
    share of all squares.
    """
    k = gram.shape[1]
    trace = floored(_trace(gram))
    by_row = gram.sum(-1) / k
    centred = gram - by_row[:, :, None] - by_row[:, None, :] + (by_row.sum(-1) / k)[:, None, None]
    unit = centred / floored(_trace(centred))[:, None, None]
    squared = floored((unit * unit).sum((1, 2)))
    return columns([1 / squared / max(k - 1, 1), largest_share(unit), by_row.sum(-1) / trace])


def largest_share(unit: ArrayLike) -> ArrayLike:
    """Return the largest eigenvalue of positive matrices of trace one, or nearly.

    Squared four times, a matrix weighs its largest eigenvalues by their sixteenth power.
    """
    second = unit @ unit
    fourth = second @ second
    eighth = fourth @ fourth
    n = unit.shape[0]
    flat = eighth.reshape(n, -1)
    return dot((eighth @ eighth).reshape(n, -1), unit.reshape(n, -1)) / floored(dot(flat, flat))


def _spread(squares: ArrayLike) -> ArrayLike:
    """Numbers of `_SPREAD_NAMES`; the last is the sum of the squares of the shares."""
    xp = namespace_of(squares)
    total = squares.sum(-1)
    shares = squares / floored(total)[:, None]
    roots, least, most = xp.sqrt(squares).sum(-1), xp.amin(squares, -1), xp.amax(squares, -1)
    return columns([total, roots, least, most, dot(shares, shares)])


def _smoothness(sample: ArrayLike) -> ArrayLike:
    """Return the correlation of neighbouring kernel positions; 0 for kernels without extent."""
    n = sample.shape[0]
    extended = [axis for axis in range(3, sample.ndim) if sample.shape[axis] > 1]
    if not extended:
        return constant(sample, _zeros, n)
    flat = sample.reshape(n, -1)
    energy = floored(dot(flat, flat))
    total: ArrayLike = 0
    for axis in extended:
        size = sample.shape[axis]
        turned = sample.swapaxes(axis, -1)
        product = (turned[..., 1:] * turned[..., :-1]).reshape(n, -1).sum(-1)
        total = total + product / energy * (size / (size - 1))
    return (total / len(extended))[:, None]


def _zeros(n: int) -> np.ndarray:
    return np.zeros((n, 1), np.float32)
