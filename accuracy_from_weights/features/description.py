"""A description of fixed length for a network of any architecture.

Three parts: the architecture in a few numbers; each layer's scale-free statistics, gathered over
the first, the last and all layers; and what the layers do together (`propagation`). Nothing
changes when hidden neurons are permuted.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.large.large_layers import LargeLayer, is_large
from accuracy_from_weights.features.layer_statistics import (
    LAYER_STATISTIC_NAMES,
    input_powers,
    layer_statistics,
    neuron_powers,
)
from accuracy_from_weights.features.numbers import FloatArray, log
from accuracy_from_weights.features.propagation import PROPAGATION_NAMES, propagate
from accuracy_from_weights.weights.layers import Layer, NetworkStack, NetworkWeights

_Layers: TypeAlias = tuple[Layer | LargeLayer, ...]

_LIMIT = 1e4
"""Features are clipped to it: beyond, a number says "absurd" and no more."""

_KINDS = ("dense", "conv", "depthwise_conv", "attention")
ARCHITECTURE_NAMES = (
    "log_parameters",
    "n_layers",
    "log_outputs",
    "log_inputs",
    "log_mean_width",
    "log_mean_fan_in",
    "mean_kernel_size",
    "bias_share",
    "norm_share",
    *(f"{kind}_share" for kind in _KINDS),
)
_GATHERED = ("first", "last", "mean", "std")
_BETWEEN = ("alignment", "weakest", "norm_scale", "norm_spread", "norm_shift")

FEATURE_NAMES: tuple[str, ...] = (
    *(f"architecture.{name}" for name in ARCHITECTURE_NAMES),
    *(f"layers.{name}.{where}" for where in _GATHERED for name in LAYER_STATISTIC_NAMES),
    *(f"between.{name}" for name in _BETWEEN),
    *(f"propagation.{name}" for name in PROPAGATION_NAMES),
)
"""Names of the columns of `describe`."""


def _architecture(layers: _Layers) -> list[float]:
    """Return the numbers of `ARCHITECTURE_NAMES`, the same for all networks of a stack."""
    shapes = [layer.shape[1:] for layer in layers]
    parameters = sum(
        math.prod(shape) + sum(a[0].size for a in layer.others if a is not None)
        for shape, layer in zip(shapes, layers, strict=True)
    )
    return [
        np.log10(max(parameters, 1)),
        len(layers),
        np.log(max(shapes[-1][0], 1)),
        np.log(max(shapes[0][1], 1)),
        float(np.mean([np.log(max(shape[0], 1)) for shape in shapes])),
        float(np.mean([np.log(max(math.prod(shape[1:]), 1)) for shape in shapes])),
        float(np.mean([math.prod(shape[2:]) for shape in shapes])),
        float(np.mean([layer.bias is not None for layer in layers])),
        float(np.mean([layer.norm_scale is not None for layer in layers])),
        *(float(np.mean([layer.kind == kind for layer in layers])) for kind in _KINDS),
    ]


def _alignment(layers: _Layers, n_networks: int) -> list[FloatArray]:
    """Return whether the neurons with large weights feed the connections that are large.

    For each pair of neighbouring layers of matching width: the correlation between the norms of
    the weights into and out of a neuron, and the weakest neuron (product of both norms) relative
    to the mean. Averages over the pairs; 0 and 1 where none matches.
    """
    correlations, weakest = [], []
    for layer, following in pairwise(layers):
        if following.kind == "depthwise_conv" or following.shape[2] != layer.shape[1]:
            continue
        into = log(np.sqrt(neuron_powers(layer)))
        outof = log(np.sqrt(input_powers(following)))
        a = into - into.mean(axis=1, keepdims=True)
        b = outof - outof.mean(axis=1, keepdims=True)
        scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
        correlations.append((a * b).sum(axis=1) / np.maximum(scale, 1e-6))
        weakest.append(np.exp((a + b).min(axis=1)))
    return [
        np.mean(correlations, axis=0) if correlations else np.zeros(n_networks),
        np.mean(weakest, axis=0) if weakest else np.ones(n_networks),
    ]


def _normalisation(layers: _Layers, n_networks: int) -> list[FloatArray]:
    """Mean and spread of the scales, spread of the shifts, of unfolded normalisations."""
    scales = [layer.norm_scale for layer in layers if layer.norm_scale is not None]
    shifts = [layer.norm_shift for layer in layers if layer.norm_shift is not None]
    zeros = np.zeros(n_networks)
    return [
        np.mean([np.abs(s).mean(axis=1) for s in scales], axis=0) if scales else zeros,
        np.mean([s.std(axis=1) for s in scales], axis=0) if scales else zeros,
        np.mean([s.std(axis=1) for s in shifts], axis=0) if shifts else zeros,
    ]


def _gathered_statistics(layers: _Layers) -> list[FloatArray]:
    each = [layer_statistics(layer) for layer in layers]
    table = np.stack([[one[name] for name in LAYER_STATISTIC_NAMES] for one in each])
    return [*table[0], *table[-1], *table.mean(axis=0), *table.std(axis=0)]


def _prepared(layer: Layer) -> Layer | LargeLayer:
    if is_large(layer):
        return LargeLayer.of(layer)
    others = [None if a is None else a.astype(np.float32, copy=False) for a in layer.others]
    if len(layer.stored) == 1 and layer.stored.dtype == np.float32:
        # Folded whenever it is asked for: all small layers together may outweigh the largest one.
        bias, scale, shift = others
        stored = np.asarray(layer.stored)  # part of a larger kernel may still lie on a GPU
        return Layer(layer.name, layer.kind, stored, bias, scale, shift, layer.gain)
    kernel = layer.kernel.astype(np.float32, copy=False)
    return Layer(layer.name, layer.kind, kernel, *others)


def _are_finite(layer: Layer | LargeLayer) -> NDArray[np.bool_]:
    """Return which networks of the stack hold numbers only."""
    n = layer.shape[0]
    if isinstance(layer, LargeLayer):
        finite, arrays = np.array([kernel.is_finite for kernel in layer.kernels]), layer.others
    else:
        finite, arrays = np.ones(n, bool), layer.arrays
    for array in arrays:
        if array is not None:
            finite &= np.isfinite(array).reshape(n, -1).all(axis=1)
    return finite


def _chosen(layer: Layer | LargeLayer, rows: NDArray[np.bool_]) -> Layer | LargeLayer:
    if isinstance(layer, LargeLayer):
        return layer.chosen(rows)
    others = (None if a is None else a[rows] for a in layer.others)
    return Layer(layer.name, layer.kind, layer.kernel[rows], *others)


def describe(networks: NetworkStack | NetworkWeights) -> NDArray[np.float32]:
    """Describe networks by numbers that mean the same for any architecture.

    Parameters
    ----------
    networks : NetworkStack or NetworkWeights
        One network is a stack of one.

    Returns
    -------
    ndarray of shape (n_networks, len(FEATURE_NAMES))
        A network whose weights hold a NaN or an infinity has NaN in every column; every other
        network has finite numbers only.
    """
    stack = networks.as_stack() if isinstance(networks, NetworkWeights) else networks
    n = stack.n_networks
    features = np.full((n, len(FEATURE_NAMES)), np.nan, np.float32)
    with np.errstate(all="ignore"):  # what has diverged is found below
        layers = tuple(_prepared(layer) for layer in stack.layers)
    finite = np.all([_are_finite(layer) for layer in layers], axis=0)
    if not finite.any():
        return features
    if not finite.all():
        layers = tuple(_chosen(layer, finite) for layer in layers)
    m = int(finite.sum())
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        columns = [
            *(np.full(m, number, float) for number in _architecture(layers)),
            *_gathered_statistics(layers),
            *_alignment(layers, m),
            *_normalisation(layers, m),
            *propagate(layers, m).T,
        ]
    table = np.stack(columns, axis=1)
    features[finite] = np.clip(np.nan_to_num(table, nan=0.0), -_LIMIT, _LIMIT)
    return features
