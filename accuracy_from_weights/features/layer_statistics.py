"""Scale-free statistics of layers, from what was measured of their kernels and vectors.

A kernel counts in units of one over the root of its fan-in (how many inputs one output sees), so
that a freshly initialised layer has about the same numbers whatever its width (He et al. 2015).
Spectra count relative to those of noise of the kernel's shape (Marchenko & Pastur 1967).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.array_ops import (
    DIVERGED,
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
from accuracy_from_weights.features.kernel_measures import (
    N_KERNEL_NUMBERS,
    KernelMeasures,
    between,
    kernel_statistics,
    neighbours_of,
)
from accuracy_from_weights.features.sent_layers import SentLayer

_VECTOR_MEASURES = ("mean", "std", "min", "q25", "q50", "q75", "max")
_VECTOR_SHARES = (0, 0.25, 0.5, 0.75, 1)
_VECTORS = ("bias", "threshold", "norm_scale", "norm_shift")
_N_VECTOR_NUMBERS = 2 * len(_VECTOR_SHARES) + 2
N_NUMBERS = N_KERNEL_NUMBERS + len(_VECTORS) * _N_VECTOR_NUMBERS
"""How many numbers are measured of a layer, on whatever device."""

LAYER_STATISTIC_NAMES = (
    "mean",
    "log_std",
    "log_rms",
    "skewness",
    "log_kurtosis",
    "mean_absolute",
    "q0",
    "q5",
    "q25",
    "q50",
    "q75",
    "q95",
    "q100",
    "log_top_share",
    "log_spectral_norm",
    "log_participation",
    "cosine",
    *(f"{side}_{name}" for side in ("neuron", "input") for name in ("cv", "min", "max")),
    "log_neuron_coherence",
    "log_input_coherence",
    "excitation",
    "smoothness",
    *(f"bias_{name}" for name in _VECTOR_MEASURES),
    *(f"threshold_{name}" for name in ("mean", "std", "min", "max")),
)


def _vector_numbers(values: ArrayLike) -> ArrayLike:
    """Neighbours of the quantiles of rows, their sums, and the squares of what is off the mean."""
    xp = namespace_of(values)
    neighbours = neighbours_of(sorted_rows(values), _VECTOR_SHARES)
    values = clipped(values)
    total = values.sum(-1)
    off = values - (total / values.shape[1])[:, None]
    return xp.concatenate([neighbours, columns([total, dot(off, off)])], -1)


def _thresholds(bias: ArrayLike, squares: ArrayLike) -> ArrayLike:
    lengths = namespace_of(bias).sqrt(floored(squares))
    return (clipped(bias) / lengths).clip(-10, 10)


def vector_numbers(
    layers: Sequence[SentLayer], measures: Sequence[KernelMeasures]
) -> list[list[ArrayLike]]:
    """Return for each layer the numbers of each of its `_VECTORS`; zeros for what is absent."""
    xp = namespace_of(layers[0].kernel)
    biased = [k for k, layer in enumerate(layers) if layer.bias is not None]
    biases: list[ArrayLike] = [layers[k].bias for k in biased]
    lengths = [bias.shape[1] for bias in biases]
    squares = [measures[k].neuron_squares[:, :m] for k, m in zip(biased, lengths, strict=True)]
    scaled = [k for k, layer in enumerate(layers) if layer.norm_scale is not None]
    shifted = [k for k, layer in enumerate(layers) if layer.norm_shift is not None]
    places = [(k, 0) for k in biased] + [(k, 1) for k in biased]
    places += [(k, 2) for k in scaled] + [(k, 3) for k in shifted]
    vectors = biases + in_batches(_thresholds, biases, squares)
    vectors += in_batches(xp.abs, [layers[k].norm_scale for k in scaled])
    vectors += [layers[k].norm_shift for k in shifted]
    known = dict(zip(places, in_batches(_vector_numbers, vectors), strict=True))
    absent = constant(layers[0].kernel, _zeros, layers[0].kernel.shape[0])
    return [[known.get((k, i), absent) for i in range(len(_VECTORS))] for k in range(len(layers))]


def _zeros(n: int) -> np.ndarray:
    return np.zeros((n, _N_VECTOR_NUMBERS), np.float32)


def statistics_of(
    numbers: FloatArray, layers: Sequence[SentLayer], measures: Sequence[KernelMeasures]
) -> dict[str, NDArray[Any]]:
    """Work out what was measured, of all layers at once.

    Parameters
    ----------
    numbers : ndarray of shape (n, n_layers, N_NUMBERS)

    Returns
    -------
    dict of str to ndarray of shape (n, n_layers)
        ``is_finite`` says of the vectors as well whether all values are.
    """
    found = kernel_statistics(numbers[..., :N_KERNEL_NUMBERS], measures)
    vectors = numbers[..., N_KERNEL_NUMBERS:].reshape(*numbers.shape[:2], len(_VECTORS), -1)
    widths = np.array([_widths(layer) for layer in layers], float)
    k = len(_VECTOR_SHARES)
    edges = vectors[..., :k]
    shares = vectors[..., : 2 * k].clip(-DIVERGED, DIVERGED)
    quantiles = between(shares[..., :k], shares[..., k:], widths, _VECTOR_SHARES)
    moments = vectors[..., 2 * k :] / widths[..., None]
    np.sqrt(moments[..., 1], out=moments[..., 1])
    for names, values in ((_VECTOR_MEASURES[:2], moments), (_VECTOR_MEASURES[2:], quantiles)):
        for i, measure in enumerate(names):
            for j, name in enumerate(_VECTORS):
                found[f"{name}_{measure}"] = values[..., j, i]
    found["is_finite"] = found["is_finite"] & np.isfinite(edges).all(axis=(-1, -2))
    return found


def _widths(layer: SentLayer) -> list[int]:
    vectors = (layer.bias, layer.bias, layer.norm_scale, layer.norm_shift)
    return [1 if vector is None else vector.shape[1] for vector in vectors]


def layer_statistics(
    of: dict[str, NDArray[Any]], layers: Sequence[SentLayer], measures: Sequence[KernelMeasures]
) -> FloatArray:
    """Bring what was measured to scales on which differences count alike.

    Weights count in units of one over the root of the fan-in, in which initial weights of any width
    look alike (He et al. 2015). Spectra count relative to those of noise of the kernel's shape
    (Marchenko & Pastur 1967).

    Parameters
    ----------
    of : dict of str to ndarray of shape (n, n_layers)
        What `statistics_of` returns.

    Returns
    -------
    ndarray of shape (n, n_layers, len(LAYER_STATISTIC_NAMES))
    """
    shapes = [tuple(layer.measured.shape[1:]) for layer in layers]
    fan_in = np.array([math.prod(shape[1:]) for shape in shapes], float)
    out = np.array([shape[0] for shape in shapes], float)
    looked = np.array([found.gram.shape[1] for found in measures], float)
    root = np.sqrt(fan_in)

    def log(values: FloatArray) -> FloatArray:
        return np.log(np.maximum(values, 1e-12))

    total = np.maximum(of["neuron_total"], 1e-30)
    mean = of["sum"] / (out * fan_in)
    deviation = np.sqrt(np.maximum(of["neuron_total"] / (out * fan_in) - mean**2, 0))
    log_rms = 0.5 * log(of["neuron_total"] / out)
    edge, seen_edge = (np.minimum((1 / np.sqrt(rows) + 1 / root) ** 2, 1) for rows in (out, looked))
    # Of all neurons: the largest eigenvalue stands out as it does among those that were looked at,
    # and products of pairs are as large.
    slope = (1 - edge) / np.maximum(1 - seen_edge, 1e-6)
    top = edge + np.maximum(of["top_share"] - seen_edge, 0) * slope
    alone, own = of["neuron_concentration"], of["own_squares"]
    pairs = (1 - alone) * (of["sum_of_squares"] - own) / np.maximum(1 - own, 1e-6)
    is_exact = looked == out
    top = np.where(is_exact, of["top_share"], top)
    squared = np.where(is_exact, of["sum_of_squares"], alone + pairs)
    seen_deviation = np.maximum(of["sample_deviation"], 1e-15)
    ready = {
        "mean": np.arcsinh(mean * root),
        "log_std": log(deviation * root),
        "log_rms": log_rms,
        "skewness": np.arcsinh(of["skewness"]),
        "log_kurtosis": log(of["kurtosis"]),
        "q0": np.arcsinh(of["lowest"] * root),
        "q100": np.arcsinh(of["highest"] * root),
        **{
            name: np.arcsinh((of[name] - of["sample_mean"]) / seen_deviation)
            for name in ("q5", "q25", "q50", "q75", "q95")
        },
        "log_top_share": log(top / edge),
        "log_spectral_norm": 0.5 * log(top) + log_rms,
        "log_participation": log((1 / out + 1 / fan_in) / np.maximum(squared, 1e-12)),
        "cosine": of["cosine"] * root,
        "log_neuron_coherence": log(of["row_sums"] / total),
        "log_input_coherence": log(of["column_sums"] / total),
        "excitation": of["sum"] / np.sqrt(np.maximum(of["row_sums"] * out, 1e-30)),
        **{f"bias_{name}": np.arcsinh(10 * of[f"bias_{name}"]) for name in _VECTOR_MEASURES},
    }
    as_measured = of | ready
    return np.stack([as_measured[name] for name in LAYER_STATISTIC_NAMES], axis=-1)
