"""A description of fixed length for a network of any architecture.

Three parts: the architecture in a few numbers; each layer's scale-free statistics, gathered over
the layers; and what the layers do together (`propagation`). Nothing changes when hidden neurons are
permuted. It costs one pass over the weights (`kernel_measures`), one more over the last layers, and
small matrices. Layers of one shape are worked on together. The same code runs with numpy and, where
a network's large kernels lie on a device of PyTorch, there: one array of numbers is copied back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.array_ops import (
    LARGEST_FEATURE,
    ArrayLike,
    FloatArray,
    columns,
    dot,
    floored,
    in_batches,
    namespace_of,
    on_host,
    plain_arithmetic,
)
from accuracy_from_weights.features.kernel_measures import (
    KernelMeasures,
    class_geometry,
    measure,
)
from accuracy_from_weights.features.layer_statistics import (
    LAYER_STATISTIC_NAMES,
    N_NUMBERS,
    layer_statistics,
    statistics_of,
    vector_numbers,
)
from accuracy_from_weights.features.propagation import DEPTH, PROPAGATION_NAMES, Step, propagate
from accuracy_from_weights.features.sent_layers import SentLayer, part_of, sent_layers
from accuracy_from_weights.weights.layers import NetworkStack, NetworkWeights

_TOGETHER = 2**18
"""Weights of small networks that are described at a time: they fit a processor's cache."""

_KINDS = ("dense", "conv", "depthwise_conv")
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
_BETWEEN = ("alignment", "weakest")
_CLASSES = ("class_participation", "class_top_share", "class_common")

_GATHERED = ("first", "last", "mean", "std")

FEATURE_NAMES: tuple[str, ...] = (
    *(f"architecture.{name}" for name in ARCHITECTURE_NAMES),
    *(f"layers.{name}.{where}" for where in _GATHERED for name in LAYER_STATISTIC_NAMES),
    *(f"between.{name}" for name in _BETWEEN),
    *(f"between.{name}" for name in ("norm_scale", "norm_spread", "norm_shift")),
    *(f"classes.{name.removeprefix('class_')}" for name in _CLASSES),
    *(f"propagation.{name}" for name in PROPAGATION_NAMES),
)
"""Names of the columns of `describe`."""


def _architecture(layers: Sequence[SentLayer]) -> list[float]:
    """Return the numbers of `ARCHITECTURE_NAMES`, the same for all networks of a stack."""
    shapes = [layer.kernel.shape[1:] for layer in layers]
    n = len(layers)
    return [
        math.log10(max(sum(layer.n_parameters for layer in layers), 1)),
        n,
        math.log(max(shapes[-1][0], 2)),  # one output decides between two classes
        math.log(max(shapes[0][1], 1)),
        sum(math.log(max(shape[0], 1)) for shape in shapes) / n,
        sum(math.log(max(math.prod(shape[1:]), 1)) for shape in shapes) / n,
        sum(math.prod(shape[2:]) for shape in shapes) / n,
        sum(layer.bias is not None for layer in layers) / n,
        sum(layer.norm_scale is not None for layer in layers) / n,
        *(sum(layer.kind == kind for layer in layers) / n for kind in _KINDS),
    ]


def _alignment_of(into: ArrayLike, outof: ArrayLike) -> ArrayLike:
    """Products of the logarithms less their means, and the least of their sums; of (n, m)."""
    xp = namespace_of(into)
    logs = xp.log(floored(xp.stack([into, outof]))) / 2
    a, b = logs - logs.mean(-1)[..., None]
    return columns([dot(a, b), dot(a, a), dot(b, b), xp.amin(a + b, -1)])


def _alignment(steps: Sequence[Step]) -> list[ArrayLike]:
    """Return whether the neurons with large weights feed the connections that are large.

    For each pair of neighbouring layers of matching width: the correlation between the norms of
    the weights into and out of a neuron, and the weakest neuron (product of both norms) relative
    to the mean.
    """
    first, second = [], []
    for into, outof in pairwise(steps):
        kernel = outof.layer.kernel
        if outof.layer.kind != "depthwise_conv" and kernel.shape[2] == into.layer.kernel.shape[1]:
            first.append(into.neuron_squares)
            second.append(outof.input_squares)
    return in_batches(_alignment_of, first, second)


def _between_layers(products: FloatArray) -> FloatArray:
    """Return the numbers of `_BETWEEN`, means over pairs of layers, of `_alignment`'s."""
    if not products.shape[1]:
        return np.tile([0.0, 1.0], (len(products), 1))
    both, first, second, least = np.moveaxis(products, -1, 0)
    correlation = both / np.maximum(np.sqrt(first * second), 1e-6)
    return np.stack([correlation.mean(axis=1), np.exp(least).mean(axis=1)], axis=-1)


def _step(layer: SentLayer, found: KernelMeasures) -> Step:
    squares = found.neuron_squares, found.input_squares
    return Step(layer, *(squares[::-1] if layer.is_turned else squares))


def _gathered(statistics: FloatArray) -> FloatArray:
    """From (n, n_layers, k) to (n, len(_GATHERED) times k)."""
    mean = statistics.mean(axis=1)
    return np.concatenate(
        [
            statistics[:, 0],
            statistics[:, -1],
            mean,
            np.sqrt(((statistics - mean[:, None]) ** 2).mean(axis=1)),
        ],
        axis=1,
    )


def _norm_columns(of: dict[str, NDArray[Any]], layers: Sequence[SentLayer]) -> FloatArray:
    """Averages over the layers that a normalisation follows, of shape (n, 3); zeros where none."""
    has_scale = np.array([layer.norm_scale is not None for layer in layers])
    has_shift = np.array([layer.norm_shift is not None for layer in layers])
    counts = np.array([has_scale.sum(), has_scale.sum(), has_shift.sum()])
    values = [of["norm_scale_mean"], of["norm_scale_std"], of["norm_shift_std"]]
    return np.stack(values, -1).sum(axis=1) / np.maximum(counts, 1)


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
    weights = sum(math.prod(layer.shape[1:]) for layer in stack.layers)
    size = max(_TOGETHER // max(weights, 1), 1)
    if n <= size:
        return _described(stack)
    return np.concatenate(
        [_described(part_of(stack, slice(k, min(k + size, n)))) for k in range(0, n, size)]
    )


def _described(stack: NetworkStack) -> NDArray[np.float32]:
    layers = sent_layers(stack)
    n_layers = len(layers)
    with plain_arithmetic(layers[0].kernel), np.errstate(all="ignore"):
        measures = measure([layer.measured for layer in layers], [layer.gain for layer in layers])
        others = vector_numbers(layers, measures)
        of_layers = [
            part
            for found, other in zip(measures, others, strict=True)
            for part in (*found.numbers, *other)
        ]
        steps = [_step(*known) for known in zip(layers, measures, strict=True)]
        pairs = _alignment(steps)
        rest = [
            class_geometry(measures[-1].gram),
            propagate(steps[-DEPTH:], max(n_layers - DEPTH, 0)),
        ]
        together = namespace_of(layers[0].kernel).concatenate([*of_layers, *pairs, *rest], -1)
        # All that is left is arithmetic on these numbers, of all layers at once.
        numbers = on_host(together)
        table = _table(numbers, layers, measures, len(pairs))
    return table


def _table(
    numbers: NDArray[np.float64],
    layers: Sequence[SentLayer],
    measures: Sequence[KernelMeasures],
    n_pairs: int,
) -> NDArray[np.float32]:
    n, n_layers = len(numbers), len(layers)
    ends = np.cumsum([n_layers * N_NUMBERS, n_pairs * 4])
    of_layers, of_pairs, rest = np.split(numbers, ends, axis=1)
    statistics = statistics_of(of_layers.reshape(n, n_layers, N_NUMBERS), layers, measures)
    table = np.concatenate(
        [
            np.tile(_architecture(layers), (n, 1)),
            _gathered(layer_statistics(statistics, layers, measures)),
            _between_layers(of_pairs.reshape(n, n_pairs, 4)),
            _norm_columns(statistics, layers),
            rest,
        ],
        axis=1,
    )
    table = np.clip(np.nan_to_num(table, nan=0.0), -LARGEST_FEATURE, LARGEST_FEATURE).astype(
        np.float32
    )
    table[~statistics["is_finite"].all(axis=1)] = np.nan
    return table
