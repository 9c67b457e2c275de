"""Scale-free numbers that describe one layer, for many networks at once.

A kernel is first multiplied by the root of its fan-in (how many inputs one output sees), so that a
freshly initialised layer has about the same numbers whatever its width (He et al. 2015). All
numbers stay the same when the layer's neurons, or the neurons that feed it, are permuted.
"""

from __future__ import annotations

import numpy as np

from accuracy_from_weights.features.large.large_layers import LargeLayer, large_kernel_statistics
from accuracy_from_weights.features.numbers import (
    DIVERGED,
    TINY,
    FloatArray,
    log,
    quantiles,
    spread,
)
from accuracy_from_weights.weights.layers import Layer

_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_QUANTILE_NAMES = tuple(f"q{round(100 * q)}" for q in _QUANTILES)
_BIAS_NAMES = ("mean", "std", "min", "q25", "q50", "q75", "max")

LAYER_STATISTIC_NAMES = (
    "mean",
    "log_std",
    "skewness",
    "log_kurtosis",
    "mean_absolute",
    *_QUANTILE_NAMES,
    *(f"bias_{name}" for name in _BIAS_NAMES),
    "log_spectral_norm",
    "stable_rank",
    "spectral_entropy",
    "participation_ratio",
    "smallest_singular",
    *(f"{side}_{name}" for side in ("neuron", "input") for name in ("cv", "min", "max")),
    "cosine",
    "resultant",
    "smoothness",
)
"""Keys of `layer_statistics`, in its order."""


def flat_kernel(layer: Layer) -> FloatArray:
    """Kernels of a stack as matrices of shape (n_networks, out, fan_in), float32."""
    kernel = layer.kernel
    return kernel.reshape(kernel.shape[0], kernel.shape[1], -1).astype(np.float32, copy=False)


def neuron_powers(layer: Layer | LargeLayer) -> FloatArray:
    """Mean square of the weights into each neuron, of shape (n_networks, out)."""
    if isinstance(layer, LargeLayer):
        return np.stack([k.sums.row_squares / k.fan_in for k in layer.kernels])
    n, out = layer.shape[:2]
    return (layer.kernel.reshape(n, out, -1) ** 2).mean(axis=2)


def input_powers(layer: Layer | LargeLayer) -> FloatArray:
    """Mean square of the weights out of each input, of shape (n_networks, inputs)."""
    if isinstance(layer, LargeLayer):
        return np.stack([k.sums.input_squares / (k.out * k.positions) for k in layer.kernels])
    n, out, inputs = layer.shape[:3]
    return (layer.kernel.reshape(n, out, inputs, -1) ** 2).mean(axis=(1, 3))


def _moments(scaled: FloatArray) -> dict[str, FloatArray]:
    values = scaled.reshape(len(scaled), -1)
    mean = values.mean(axis=1)
    centred = values - mean[:, None]
    variance = np.mean(centred**2, axis=1)
    deviation = np.sqrt(np.maximum(variance, TINY))
    standard = centred / deviation[:, None]
    squares = standard**2
    statistics = {
        "mean": np.arcsinh(mean),
        "log_std": log(np.sqrt(variance)),
        "skewness": np.arcsinh(np.mean(squares * standard, axis=1)),
        "log_kurtosis": log(np.mean(squares**2, axis=1)),
        "mean_absolute": np.mean(np.abs(standard), axis=1),
    }
    scaled_quantiles = np.arcsinh(quantiles(values, _QUANTILES))
    return statistics | dict(zip(_QUANTILE_NAMES, scaled_quantiles, strict=True))


def _bias(bias: FloatArray | None, n_networks: int) -> dict[str, FloatArray]:
    if bias is None or bias.shape[1] == 0:
        return {f"bias_{name}": np.zeros(n_networks, np.float32) for name in _BIAS_NAMES}
    values = bias.astype(np.float32, copy=False)
    inner = quantiles(values, (0.0, 0.25, 0.5, 0.75, 1.0))
    numbers = np.arcsinh(10 * np.array([values.mean(axis=1), values.std(axis=1), *inner]))
    return {f"bias_{name}": x for name, x in zip(_BIAS_NAMES, numbers, strict=True)}


def _spectrum(scaled: FloatArray, gram: FloatArray) -> dict[str, FloatArray]:
    out, fan_in = scaled.shape[1:]
    if out > fan_in:  # the same eigenvalues but for zeros
        gram = scaled.transpose(0, 2, 1) @ scaled
    energy = np.maximum(np.linalg.eigvalsh(gram), 0)
    rank = energy.shape[1]
    total = np.maximum(energy.sum(axis=1), TINY)
    share = energy / total[:, None]
    largest = share[:, -1]
    return {
        "log_spectral_norm": 0.5 * log(energy[:, -1] / max(out, 1)),
        "stable_rank": 1 / np.maximum(largest, 1 / rank) / rank,
        "spectral_entropy": -(share * log(share)).sum(axis=1) / max(np.log(rank), 1.0),
        "participation_ratio": 1 / np.maximum((share**2).sum(axis=1), 1 / rank) / rank,
        "smallest_singular": 0.5 * log(share[:, 0] * rank + 1e-8),
    }


def _neurons(layer: Layer, scaled: FloatArray, gram: FloatArray) -> dict[str, FloatArray]:
    n, out, fan_in = scaled.shape
    norms = np.sqrt((scaled**2).mean(axis=2))
    channels = layer.shape[2]
    by_input = np.sqrt((scaled.reshape(n, out, channels, -1) ** 2).mean(axis=(1, 3)))
    to_unit = 1 / np.maximum(norms, TINY) / np.float32(np.sqrt(fan_in))
    cosines = np.abs(gram) * to_unit[:, :, None] * to_unit[:, None, :]
    pairs = max(out * (out - 1), 1)
    off_diagonal = (cosines.sum(axis=(1, 2)) - np.trace(cosines, axis1=1, axis2=2)) / pairs
    resultant = np.sqrt(((to_unit[:, None] @ scaled) ** 2).sum(axis=(1, 2))) / np.sqrt(out)
    return {
        **{f"neuron_{name}": x for name, x in spread(norms).items()},
        **{f"input_{name}": x for name, x in spread(by_input).items()},
        "cosine": off_diagonal * np.sqrt(fan_in),
        "resultant": resultant,
    }


def _smoothness(kernel: FloatArray) -> FloatArray:
    """Correlation of neighbouring kernel positions; 0 for kernels without extent."""
    n = len(kernel)
    energy = np.maximum((kernel.reshape(n, -1) ** 2).sum(axis=1), TINY)
    total, axes = np.zeros(n, np.float32), 0
    for axis in range(3, kernel.ndim):
        size = kernel.shape[axis]
        if size < 2:
            continue
        ahead = np.take(kernel, range(1, size), axis=axis)
        behind = np.take(kernel, range(size - 1), axis=axis)
        product = (ahead * behind).reshape(n, -1).sum(axis=1)
        total += product / energy * size / (size - 1)
        axes += 1
    return total / max(axes, 1)


def layer_statistics(layer: Layer | LargeLayer) -> dict[str, FloatArray]:
    """Describe one layer of a stack.

    Parameters
    ----------
    layer : Layer or LargeLayer
        Its arrays have a leading axis of n networks. Of a large layer some numbers are estimates:
        see `large_layers`.

    Returns
    -------
    dict of str to ndarray of shape (n_networks,)
        Keys as in `LAYER_STATISTIC_NAMES`.
    """
    if isinstance(layer, LargeLayer):
        each = [large_kernel_statistics(kernel, _smoothness) for kernel in layer.kernels]
        own = {name: np.array([one[name] for one in each]) for name in each[0]}
        return own | _bias(layer.bias, len(each))
    kernel = np.clip(flat_kernel(layer), -DIVERGED, DIVERGED)
    scaled = kernel * np.float32(np.sqrt(kernel.shape[2]))
    gram = scaled @ scaled.transpose(0, 2, 1)
    return {
        **_moments(scaled),
        **_bias(layer.bias, len(kernel)),
        **_spectrum(scaled, gram),
        **_neurons(layer, scaled, gram),
        "smoothness": _smoothness(layer.kernel.astype(np.float32, copy=False)),
    }
