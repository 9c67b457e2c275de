"""What a network would do to random inputs, worked out from its weights alone.

A Gaussian is sent through the layers: the mean and the covariance of the channels. The activation
between two layers is not recorded in the weights, so each network is described twice:

- as if it were a rectifier: mean and variance of a rectified Gaussian neuron by neuron (Frey &
  Hinton 1999, "Variational learning in nonlinear Gaussian belief networks"), covariances by Stein's
  lemma: they shrink by the share of the time in which each of the two neurons is active;
- as if it were tanh: the error function of the same slope, whose mean and expected slope under a
  Gaussian have a closed form (MacKay 1992, "The evidence framework applied to classification
  networks", for the sigmoid).

Each is done for three degrees of correlation between neighbouring positions of an image. The
covariance of the outputs, after taking away what all outputs share (a softmax does not feel it),
tells how many classes the network can tell apart at all, and whether one answer drowns the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import erf, ndtr, softmax

from accuracy_from_weights.features.large.large_layers import LargeLayer
from accuracy_from_weights.features.numbers import DIVERGED, FloatArray, log
from accuracy_from_weights.features.numbers import TINY as _TINY
from accuracy_from_weights.weights.layers import Layer

_MAX_CHANNELS = 256
"""Above it only variances are followed: a covariance would cost more than reading the weights."""

ACTIVATIONS = ("relu", "tanh")
OVERLAPS = (0.0, 0.5, 0.9)
_OUTPUTS = (
    "log_variance",
    "log_mean_variance",
    "log_constancy",
    "rank",
    "entropy",
    "share1",
    "share2",
    "share3",
    "share4",
    "mean_entropy",
    "variance_cv",
)
_HIDDEN = ("log_gain", "active", "inactive", "always_active", "rank", "varying")
_GATHERED = ("first", "last", "mean")

PROPAGATION_NAMES = tuple(
    f"{activation}{round(100 * overlap)}.{name}"
    for activation, overlap in product(ACTIVATIONS, OVERLAPS)
    for name in (
        *(f"output.{output}" for output in _OUTPUTS),
        *(f"hidden.{hidden}.{where}" for hidden in _HIDDEN for where in _GATHERED),
    )
)
"""Names of the columns of `propagate`."""


@dataclass(frozen=True, eq=False)
class _Gaussian:
    """Channels of n networks in v views: each activation with each degree of overlap.

    Mean and variance have shape (v, n, c), the covariance (v, n, c, c) or None where c is large.
    """

    mean: FloatArray
    variance: FloatArray
    covariance: FloatArray | None

    @classmethod
    def of(cls, mean: FloatArray, covariance: FloatArray) -> _Gaussian:
        return cls(mean, np.maximum(np.einsum("...cc->...c", covariance), 0), covariance)

    @property
    def power(self) -> FloatArray:
        """Mean square of a channel, shape (v, n)."""
        return (self.variance + self.mean**2).mean(axis=-1)

    def full_covariance(self) -> FloatArray:
        if self.covariance is not None:
            return self.covariance
        return self.variance[..., None] * np.eye(self.variance.shape[-1])

    def scaled(self, gain: FloatArray) -> _Gaussian:
        """Each channel times its gain, which broadcasts against (v, n, c)."""
        covariance = self.covariance
        if covariance is not None:
            covariance = covariance * gain[..., :, None]
            covariance *= gain[..., None, :]
        return _Gaussian(self.mean * gain, self.variance * gain**2, covariance)

    def fitted_to(self, channels: int) -> _Gaussian:
        """Itself, or its average where the next layer sees another number of channels.

        A flattened map or a concatenation changes the number, and frameworks order the values
        differently: only an average over channels means the same in all of them.
        """
        if channels == self.mean.shape[-1]:
            return self
        mean = np.repeat(self.mean.mean(axis=-1, keepdims=True), channels, axis=-1)
        variance = np.repeat(self.variance.mean(axis=-1, keepdims=True), channels, axis=-1)
        return _Gaussian(mean, variance, None)

    def rescaled(self) -> _Gaussian:
        """In a range where nothing overflows: a very deep or diverged network would leave it."""
        scale = np.sqrt(self.power)
        scale = np.where((scale > 1e6) | (scale < 1e-6), np.maximum(scale, _TINY), 1.0)
        return self if (scale == 1).all() else self.scaled(1 / scale[..., None])


def _through_large(layer: LargeLayer, before: _Gaussian, overlap: FloatArray) -> _Gaussian:
    before = before.fitted_to(layer.shape[1 if layer.kind == "depthwise_conv" else 2]).rescaled()
    inputs = zip(before.mean.swapaxes(0, 1), before.variance.swapaxes(0, 1), strict=True)
    depthwise = layer.kind == "depthwise_conv"
    carried = [
        kernel.carry(mean, variance, depthwise)
        for kernel, (mean, variance) in zip(layer.kernels, inputs, strict=True)
    ]
    mean, apart, together = np.array(carried).transpose(1, 2, 0, 3)
    if layer.bias is not None:
        mean = mean + np.clip(layer.bias, -DIVERGED, DIVERGED)
    return _Gaussian(mean, (1 - overlap) * apart + overlap * together, None)


def _through(layer: Layer | LargeLayer, before: _Gaussian, overlap: FloatArray) -> _Gaussian:
    """After the layer; `overlap` has shape (v, 1, 1)."""
    if isinstance(layer, LargeLayer):
        return _through_large(layer, before, overlap)
    kernel = layer.kernel
    n, out, inputs = kernel.shape[:3]
    kernel = np.clip(kernel.astype(np.float32, copy=False), -DIVERGED, DIVERGED)
    kernel = kernel.reshape(n, out, inputs, -1)
    depthwise = layer.kind == "depthwise_conv"
    before = before.fitted_to(out if depthwise else inputs).rescaled()
    summed = kernel.sum(axis=3)

    def weighted_sum(weights: FloatArray, values: FloatArray) -> FloatArray:
        if depthwise:
            return weights[..., 0] * values
        return (weights @ values[..., None])[..., 0]

    mean = weighted_sum(summed, before.mean)
    if layer.bias is not None:
        mean = mean + np.clip(layer.bias, -DIVERGED, DIVERGED)
    if max(out, inputs) > _MAX_CHANNELS:
        apart = weighted_sum((kernel**2).sum(axis=3), before.variance)
        together = weighted_sum(summed**2, before.variance)
        return _Gaussian(mean, (1 - overlap) * apart + overlap * together, None)
    overlap = overlap[..., None]
    covariance = before.full_covariance()
    if depthwise:
        own = kernel[:, :, 0]
        factor = (1 - overlap) * (own @ own.transpose(0, 2, 1))
        factor += overlap * (summed * summed.transpose(0, 2, 1))
        factor *= covariance
        return _Gaussian.of(mean, factor)
    # Positions before inputs, so that both products below are plain batched matrix products.
    spread = np.ascontiguousarray(kernel.transpose(0, 1, 3, 2)).reshape(n, -1, inputs)
    moved = (spread @ covariance).reshape(len(covariance), n, out, -1)
    apart = moved @ spread.reshape(n, out, -1).transpose(0, 2, 1)
    if kernel.shape[3] > 1:  # of a single position there is nothing to be correlated with
        apart *= 1 - overlap
        apart += overlap * (summed @ covariance @ summed.transpose(0, 2, 1))
    return _Gaussian.of(mean, apart)


def _rectified(mean: FloatArray, variance: FloatArray) -> tuple[FloatArray, ...]:
    """Mean and variance after the activation, and its expected slope."""
    deviation = np.sqrt(np.maximum(variance, _TINY))
    ratio = mean / deviation
    active = ndtr(ratio)
    density = np.exp(-0.5 * ratio**2) / np.sqrt(2 * np.pi)
    after = mean * active + deviation * density
    square = (mean**2 + deviation**2) * active + mean * deviation * density
    return after, np.maximum(square - after**2, 0), active


def _saturated(mean: FloatArray, variance: FloatArray) -> tuple[FloatArray, ...]:
    """Mean and variance after the activation, and its expected slope."""
    widened = 1 + 0.5 * np.pi * variance
    ratio = mean / np.sqrt(widened)
    slope = np.exp(-0.25 * np.pi * ratio**2) / np.sqrt(widened)
    return erf(0.5 * np.sqrt(np.pi) * ratio), variance * slope**2, slope


def _normalised(layer: Layer | LargeLayer, before: _Gaussian) -> _Gaussian:
    """After a layer or group normalisation: unit power, then the layer's own scale and shift."""
    scale, shift = layer.norm_scale, layer.norm_shift
    own = scale if scale is not None else shift
    if own is None or own.shape[1] != before.mean.shape[-1]:
        return before
    unit = 1 / np.sqrt(np.maximum(before.power, _TINY))[..., None]
    after = before.scaled(unit if scale is None else scale * unit)
    if shift is None:
        return after
    return _Gaussian(after.mean + shift, after.variance, after.covariance)


def _rank(covariance: FloatArray | None, variance: FloatArray) -> FloatArray:
    """Participation ratio of the eigenvalues over the number of channels, in [0, 1]."""
    if covariance is None:
        total = (variance**2).sum(axis=-1)
    else:
        total = np.einsum("...ij,...ij->...", covariance, covariance)
    return variance.sum(axis=-1) ** 2 / np.maximum(total, _TINY**2) / variance.shape[-1]


def _hidden_numbers(
    gain: FloatArray, active: FloatArray, after: _Gaussian
) -> dict[str, FloatArray]:
    return {
        "log_gain": gain,
        "active": active.mean(axis=-1),
        "inactive": (active < 0.02).mean(axis=-1),
        "always_active": (active > 0.98).mean(axis=-1),
        "rank": _rank(after.covariance, after.variance),
        "varying": after.variance.mean(axis=-1) / np.maximum(after.power, _TINY),
    }


def _output_numbers(outputs: _Gaussian) -> dict[str, FloatArray]:
    mean = outputs.mean - outputs.mean.mean(axis=-1, keepdims=True)
    classes = mean.shape[-1]
    if classes <= _MAX_CHANNELS:
        covariance = outputs.full_covariance()
        covariance = covariance - covariance.mean(axis=-2, keepdims=True)
        covariance = covariance - covariance.mean(axis=-1, keepdims=True)
        variance = np.maximum(np.einsum("...cc->...c", covariance), 0)
        energy = np.maximum(np.linalg.eigvalsh(covariance), 0)[..., ::-1]
    else:
        variance = outputs.variance
        energy = -np.sort(-variance, axis=-1)
    share = energy / np.maximum(energy.sum(axis=-1, keepdims=True), _TINY)
    shares = np.zeros((*mean.shape[:2], 4))
    shares[..., : min(4, classes)] = share[..., :4]
    total, between = variance.mean(axis=-1), (mean**2).mean(axis=-1)
    answer = softmax(mean / np.sqrt(total + _TINY)[..., None], axis=-1)
    most = max(classes - 1, 1)
    return {
        "log_variance": log(total),
        "log_mean_variance": log(between),
        "log_constancy": log(between) - log(total),
        "rank": 1 / np.maximum((share**2).sum(axis=-1), 1 / most) / most,
        "entropy": -(share * log(share)).sum(axis=-1) / np.log(max(classes, 2)),
        **{f"share{k + 1}": shares[..., k] for k in range(4)},
        "mean_entropy": -(answer * log(answer)).sum(axis=-1) / np.log(max(classes, 2)),
        "variance_cv": variance.std(axis=-1) / np.maximum(total, _TINY),
    }


def _activated(before: _Gaussian) -> tuple[_Gaussian, FloatArray]:
    """After the activations, each in its own views; and how active the channels are."""
    activate = {"relu": _rectified, "tanh": _saturated}
    n = len(ACTIVATIONS)
    views = zip(ACTIVATIONS, np.split(before.mean, n), np.split(before.variance, n), strict=True)
    results = [activate[name](mean, variance) for name, mean, variance in views]
    mean, variance, slope = map(np.concatenate, zip(*results, strict=True))
    if before.covariance is None:
        return _Gaussian(mean, variance, None), slope
    covariance = before.covariance * slope[..., :, None]
    covariance *= slope[..., None, :]
    diagonal = np.arange(mean.shape[-1])
    covariance[..., diagonal, diagonal] = variance
    return _Gaussian(mean, variance, covariance), slope


def propagate(layers: Sequence[Layer | LargeLayer], n_networks: int) -> FloatArray:
    """Describe how a stack's networks carry a Gaussian from input to output.

    Parameters
    ----------
    layers : sequence of Layer or LargeLayer
        Of networks with finite weights.
    n_networks : int

    Returns
    -------
    ndarray of shape (n_networks, len(PROPAGATION_NAMES))
    """
    # All views go through a layer together, so that its kernel is passed over once.
    overlap = np.tile(OVERLAPS, len(ACTIVATIONS))[:, None, None]
    shape = (len(overlap), n_networks, layers[0].shape[2])
    state = _Gaussian(np.zeros(shape), np.ones(shape), None)
    hidden: list[dict[str, FloatArray]] = []
    for layer in layers[:-1]:
        power = state.power
        state = _through(layer, state, overlap)
        gain = 0.5 * (log(state.power) - log(power))
        state, active = _activated(_normalised(layer, state))
        hidden.append(_hidden_numbers(gain, active, state))
    numbers = _output_numbers(_through(layers[-1], state, overlap))
    columns = [numbers[name] for name in _OUTPUTS]
    for name in _HIDDEN:
        # A network of one layer hides nothing: zeros, as everywhere where a thing is absent.
        values = np.stack([h[name] for h in hidden] or [np.zeros(shape[:2])])
        columns += [values[0], values[-1], values.mean(axis=0)]
    # (column, view, network), brought to the order of the names.
    return np.array(columns).transpose(2, 1, 0).reshape(n_networks, -1)
