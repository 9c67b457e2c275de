"""Scale-free statistics of layers, from what was measured of their kernels and vectors.

A kernel counts in units of one over the root of its fan-in (how many inputs one output sees), so
that a freshly initialised layer has about the same numbers whatever its width (He et al. 2015).
Spectra count relative to those of noise of the kernel's shape (Marchenko & Pastur 1967).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from accuracy_from_weights.features.array_ops import (
    ArrayLike,
    FloatArray,
    as_float32,
    clipped,
    dot,
    floored,
    in_batches,
    namespace_of,
    sorted_rows,
)
from accuracy_from_weights.features.kernel_measures import (
    KERNEL_MEASURES,
    KernelMeasures,
    at_shares,
)
from accuracy_from_weights.features.sent_layers import SentLayer

_VECTOR_MEASURES = ("mean", "std", "min", "q25", "q50", "q75", "max")
_VECTOR_SHARES = (0, 0.25, 0.5, 0.75, 1)
_OTHER_MEASURES = (
    *(f"bias_{name}" for name in _VECTOR_MEASURES),
    *(f"threshold_{name}" for name in _VECTOR_MEASURES),
    "norm_scale",
    "norm_spread",
    "norm_shift",
    "others_are_finite",
)
RAW_NAMES = KERNEL_MEASURES + _OTHER_MEASURES
"""What is measured of a layer, on whatever device."""

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


def _vector_measures(values: ArrayLike) -> ArrayLike:
    """Numbers of `_VECTOR_MEASURES`, of rows."""
    xp = namespace_of(values)
    m = values.shape[1]
    mean = values.sum(-1) / m
    off = values - mean[:, None]
    moments = xp.stack([mean, xp.sqrt(dot(off, off) / m)], -1)
    return xp.concatenate([moments, at_shares(sorted_rows(values), _VECTOR_SHARES)], -1)


def other_measures(
    layers: Sequence[SentLayer], measures: Sequence[KernelMeasures]
) -> list[ArrayLike]:
    """Return the numbers of `_OTHER_MEASURES` of each layer; zeros for what is absent."""
    xp = namespace_of(measures[0].scalars)
    zeros = measures[0].scalars[:, :1] * 0
    width = len(_VECTOR_MEASURES)
    absent = xp.concatenate([zeros] * width, -1)
    vectors, places = [], []
    for k, (layer, found) in enumerate(zip(layers, measures, strict=True)):
        if layer.bias is not None:
            bias = clipped(layer.bias)
            lengths = xp.sqrt(floored(found.neuron_squares))[:, : bias.shape[1]]
            vectors += [bias, (bias / lengths).clip(-10, 10)]
            places += [(k, 0), (k, 1)]
        if layer.norm_scale is not None:
            vectors.append(xp.abs(clipped(layer.norm_scale)))
            places.append((k, 2))
        if layer.norm_shift is not None:
            vectors.append(clipped(layer.norm_shift))
            places.append((k, 3))
    known = dict(zip(places, in_batches(_vector_measures, vectors), strict=True))
    numbers = []
    for k, layer in enumerate(layers):
        bias, threshold, scale, shift = (known.get((k, i), absent) for i in range(4))
        is_finite = zeros == 0
        for vector in (layer.bias, layer.norm_scale, layer.norm_shift):
            if vector is not None:
                is_finite = is_finite & xp.isfinite(vector).all(-1)[:, None]
        parts = [bias, threshold, scale[:, :2], shift[:, 1:2], as_float32(is_finite)]
        numbers.append(xp.concatenate(parts, -1))
    return numbers


def layer_statistics(
    raw: FloatArray, layers: Sequence[SentLayer], measures: Sequence[KernelMeasures]
) -> FloatArray:
    """Bring what was measured to scales on which differences count alike.

    Weights count in units of one over the root of the fan-in, in which initial weights of any width
    look alike (He et al. 2015). Spectra count relative to those of noise of the kernel's shape
    (Marchenko & Pastur 1967).

    Parameters
    ----------
    raw : ndarray of shape (n, n_layers, len(RAW_NAMES))

    Returns
    -------
    ndarray of shape (n, n_layers, len(LAYER_STATISTIC_NAMES))
    """
    of = {name: raw[..., k] for k, name in enumerate(RAW_NAMES)}
    shapes = [tuple(layer.kernel.shape[1:]) for layer in layers]
    fan_in = np.array([math.prod(shape[1:]) for shape in shapes], float)
    out = np.array([shape[0] for shape in shapes], float)
    looked = np.array([found.n_chosen for found in measures], float)
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
