"""The statistics of a large layer at the price of a few passes over its weights.

For a layer of more than `LARGEST_EXACT` weights, sorting all weights and decomposing the kernel
would take a hundred times as long as reading it. Exact here, too: the moments, extremes, norms of
neurons and inputs, and the resultant. The others are estimates:

- inner quantiles, ``mean_absolute`` and ``smoothness`` come from `_VALUES` weights at most: those
  between some neurons and some inputs;
- ``cosine`` comes from all pairs of the chosen neurons, and so does the sum of the squares of the
  kernel's eigenvalues, from which the spectral statistics are made (`spectrum`).

The neurons and inputs are chosen at evenly spaced ranks of their largest absolute weight, which
rounding does not touch: so the choice is the same in whatever order neurons stand.

Measured against the exact numbers by ``benchmarks/large_layer_errors.py`` on seventeen kernels of
150 thousand to 2.4 million weights (noise, heavy tails, uneven rows, noise with 1 to 40 directions
of 5% to 98% of the energy, power laws), the median and the largest error: quantiles .006 and .036,
``mean_absolute`` .004 and .020, ``log_spectral_norm`` .02 and .17, ``stable_rank`` .004 and .03,
``spectral_entropy`` .003 and .13 (the most where rows are very uneven, or tens of directions have
nearly all the energy), ``participation_ratio`` .010 and .05, ``cosine`` .04 and .25, ``smoothness``
0 and .04.
``smallest_singular``, a logarithm, is off by .05 for noise and by 5 or more where the kernel's
smallest directions are not noise's: read it as an order of magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.large.kernel_statistics import LargeKernel, Neurons
from accuracy_from_weights.features.large.numpy_kernels import BlockedKernel
from accuracy_from_weights.features.large.spectrum import spectral_statistics
from accuracy_from_weights.features.numbers import TINY, FloatArray, at_ranks, log, spread
from accuracy_from_weights.weights.device_arrays import SMALL, DeviceArray
from accuracy_from_weights.weights.layers import Layer

LARGEST_EXACT = SMALL
"""Weights of a layer up to which all is exact; almost all layers of small networks lie below."""

_MOST_NEURONS = 1024
"""A table of all pairs of more neurons would take more memory than the kernel."""

_NEURONS = 64
_VALUES = 2**15
_DIRECTIONS = 8
_ROUNDING = 1e-6

_INNER_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class LargeLayer:
    """A layer of a stack whose kernels are passed over in blocks; otherwise as `Layer`.

    Attributes
    ----------
    kernels : tuple of LargeKernel
        One a network.
    """

    kind: str
    kernels: tuple[LargeKernel, ...]
    shape: tuple[int, ...]
    bias: FloatArray | None
    norm_scale: FloatArray | None
    norm_shift: FloatArray | None

    @classmethod
    def of(cls, layer: Layer) -> LargeLayer:
        """Pass once over each network's kernel."""
        kernels = tuple(_kernel(layer, k) for k in range(len(layer.stored)))
        others = (None if a is None else a.astype(np.float32, copy=False) for a in layer.others)
        return cls(layer.kind, kernels, layer.shape, *others)

    @property
    def others(self) -> tuple[FloatArray | None, ...]:
        """All arrays but the kernels."""
        return self.bias, self.norm_scale, self.norm_shift

    def chosen(self, rows: NDArray[np.bool_]) -> LargeLayer:
        """Of some of the networks only."""
        kernels = tuple(kernel for kernel, keep in zip(self.kernels, rows, strict=True) if keep)
        others = (None if a is None else a[rows] for a in self.others)
        return LargeLayer(self.kind, kernels, (len(kernels), *self.shape[1:]), *others)


def _kernel(layer: Layer, network: int) -> LargeKernel:
    stored = layer.stored[network]
    gain = None if layer.gain is None else layer.gain[network]
    if isinstance(stored, DeviceArray):
        from accuracy_from_weights.features.large.torch_kernels import TorchKernel

        return TorchKernel(stored.tensor, gain)
    return BlockedKernel(stored, gain)


def is_large(layer: Layer) -> bool:
    """Whether a layer of a stack has too many weights for exact statistics."""
    return math.prod(layer.shape[1:]) > LARGEST_EXACT or layer.shape[1] > _MOST_NEURONS


def large_kernel_statistics(
    kernel: LargeKernel, smoothness: Callable[[FloatArray], FloatArray]
) -> dict[str, float]:
    """Describe one network's large kernel.

    Parameters
    ----------
    kernel : LargeKernel
        Finite.
    smoothness : callable
        Gives the smoothness of kernels of shape (1, out, inputs, *spatial).

    Returns
    -------
    dict of str to float
        `layer_statistics` without those of the bias.
    """
    sums, scale = kernel.sums, math.sqrt(kernel.fan_in)
    places = _at_even_ranks(sums.row_peaks, sums.row_squares, _NEURONS)
    neurons = kernel.choose(places)
    n_inputs = max(_VALUES // (len(places) * kernel.positions), 1)
    inputs = _at_even_ranks(neurons.peaks(), sums.input_squares, n_inputs)
    sample = neurons.weights(inputs)
    statistics = _moments(kernel, sample, scale)
    statistics |= _directions(kernel, neurons, scale)
    norms = np.sqrt(sums.row_squares / kernel.fan_in) * scale
    by_input = np.sqrt(sums.input_squares / (kernel.out * kernel.positions)) * scale
    for side, values in (("neuron", norms), ("input", by_input)):
        statistics |= {f"{side}_{name}": float(x) for name, x in spread(values).items()}
    statistics["smoothness"] = float(smoothness(sample[None])[0])
    return statistics


def _at_even_ranks(peaks: FloatArray, squares: FloatArray, n: int) -> NDArray[np.intp]:
    """Choose n places, or all, at even ranks of the peaks; of equal peaks by the squares."""
    # Of float32 peaks, none that differ are brought out of order by so small a share.
    keys = peaks.astype(float) * (1 + squares / max(squares.max(), TINY) * 2.0**-26)
    order = np.argsort(keys)
    if len(order) <= n:
        return order
    return order[((np.arange(n) + 0.5) * (len(order) / n)).astype(np.intp)]


def _moments(kernel: LargeKernel, sample: FloatArray, scale: float) -> dict[str, float]:
    sums = kernel.sums
    second, third, fourth = (m * scale**k for k, m in zip((2, 3, 4), sums.central, strict=True))
    deviation = np.sqrt(max(second, TINY))
    ranks = np.rint(np.array(_INNER_QUANTILES) * (sample.size - 1)).astype(np.intp)
    (inner,) = at_ranks(sample.reshape(1, -1), ranks)
    quantiles = (sums.lowest, *inner, sums.highest)
    names = ("q0", *(f"q{round(100 * q)}" for q in _INNER_QUANTILES), "q100")
    absolute = np.abs(sample - np.float32(sums.mean)).mean()
    return {
        "mean": np.arcsinh(sums.mean * scale),
        "log_std": log(np.sqrt(second)),
        "skewness": np.arcsinh(third / deviation**3),
        "log_kurtosis": log(fourth / deviation**4),
        "mean_absolute": absolute * scale / deviation,
        **{name: np.arcsinh(q * scale) for name, q in zip(names, quantiles, strict=True)},
    }


def _directions(kernel: LargeKernel, neurons: Neurons, scale: float) -> dict[str, float]:
    """Measure how neurons lie to each other: spectrum, cosines, resultant."""
    squares = kernel.sums.row_squares
    gram = neurons.gram()
    lengths = np.maximum(np.sqrt(np.diagonal(gram)), TINY)
    cosines = np.abs(gram) / lengths / lengths[:, None]
    n_pairs = max(len(gram) * (len(gram) - 1), 1)
    n_directions = min(_DIRECTIONS, len(gram), kernel.fan_in)
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values[: -n_directions - 1 : -1], TINY**2)
    vectors = vectors[:, : -n_directions - 1 : -1]
    # Directions of so small a share that they are rounding's must not be made longer than one.
    norms = np.sqrt(np.maximum(values, _ROUNDING * values[0]))
    along, resultant = neurons.products(vectors / norms, 1 / np.maximum(np.sqrt(squares), TINY))
    # Rayleigh-Ritz: none of these is larger than the eigenvalue of its rank.
    leading = np.maximum(np.linalg.eigvalsh(along)[::-1], 0)
    leading[0] = max(leading[0], squares.max())
    rest_squared = _rest_squared(squares, leading, gram, values, vectors)
    energy, rank = scale**2, min(kernel.out, kernel.fan_in)
    return {
        **spectral_statistics(
            leading * energy, squares.sum() * energy, rest_squared * energy**2, kernel.out, rank
        ),
        "cosine": (cosines.sum() - np.trace(cosines)) / n_pairs * scale,
        "resultant": resultant / np.sqrt(kernel.out),
    }


def _rest_squared(
    squares: FloatArray,
    leading: FloatArray,
    gram: FloatArray,
    values: FloatArray,
    vectors: FloatArray,
) -> FloatArray:
    """Sum of the squares of all eigenvalues but the h largest, for each h from 0 on.

    It is the sum of the squared products of all pairs of neurons. From the chosen neurons' Gram
    matrix, without its own h largest eigenvalues, come the products relative to the lengths.
    """
    total, out, n = squares.sum(), len(squares), len(gram)
    # What is left of the diagonal, and of the sum of all squares, without the h largest.
    removed = np.cumsum(values * vectors**2, axis=1).T
    own = np.maximum(np.diagonal(gram) - np.vstack([np.zeros(n), removed]), 0)
    left = (gram**2).sum() - np.append(0.0, np.cumsum(values**2))
    rest = np.maximum(total - np.append(0.0, np.cumsum(leading)), 0.0)
    with_itself = (own**2).sum(axis=1)
    expected = own.sum(axis=1) ** 2 - with_itself
    alone = with_itself / np.maximum(own.sum(axis=1) ** 2, TINY**4) * n / out * rest**2
    alone[0] = (squares**2).sum()
    pairs = np.maximum(left - with_itself, 0.0)
    others = np.maximum(rest**2 - alone, 0.0)
    sums: FloatArray = alone + others * pairs / np.maximum(expected, TINY**4)
    return sums
