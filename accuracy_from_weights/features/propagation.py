"""What a network would do to random inputs, worked out from its weights alone.

A few fixed Gaussian inputs are sent through the last layers, at most `DEPTH` of them: deeper than
that, a chain without the ways around that a network may have says nothing any more. The activation
between two layers is not recorded in the weights, so everything is done twice: as if it were a
rectifier, and as if it were tanh. Positions of an image see the same inputs in part: half the
variance of each is its own.

The outputs' spread over the inputs, after taking away what all outputs share (a softmax does not
feel it), tells how many classes the network can tell apart at all, and whether one answer drowns
the others. Hidden neurons may be permuted: only the order of the network's inputs matters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from accuracy_from_weights.features.array_ops import (
    ArrayLike,
    as_float32,
    clipped,
    constant,
    floored,
    namespace_of,
)
from accuracy_from_weights.features.kernel_measures import largest_share
from accuracy_from_weights.features.sent_layers import SentLayer

DEPTH = 4
SAMPLES, FEW_SAMPLES = 64, 16
"""Fixed inputs to a network, and to one whose last layers have more than `_MOST_WEIGHTS`."""

_MOST_WEIGHTS = 2**18
ACTIVATIONS = ("relu", "tanh")
OVERLAPS = (0.5,)
"""Share of the variance that neighbouring positions of an image have in common."""

VIEWS = tuple(product(ACTIVATIONS, OVERLAPS))
_MOST_INPUTS = 4096
"""Random numbers are repeated beyond it."""

_OUTPUTS = (
    "log_variance",
    "log_mean_variance",
    "log_constancy",
    "concentration",
    "top_share",
    "mean_entropy",
    "answer_entropy",
    "certainty",
    "margin",
    "variance_cv",
)
_HIDDEN = ("log_gain", "log_coherence", "active", "inactive", "varying")
_GATHERED = ("first", "last", "mean")

PROPAGATION_NAMES = tuple(
    f"{activation}{round(100 * overlap)}.{name}"
    for activation, overlap in VIEWS
    for name in (
        *(f"output.{output}" for output in _OUTPUTS),
        *(f"hidden.{hidden}.{where}" for where in _GATHERED for hidden in _HIDDEN),
    )
)
"""Names of the columns of `propagate`."""


class Step(NamedTuple):
    """A layer as the inputs pass it.

    Attributes
    ----------
    layer : SentLayer
    neuron_squares : array of shape (n, out)
        Sums of the squares of the weights into each neuron.
    input_squares : array of shape (n, inputs)
        Of those out of each input.
    """

    layer: SentLayer
    neuron_squares: ArrayLike
    input_squares: ArrayLike


def _random_inputs(n: int, samples: int) -> np.ndarray:
    """Return fixed inputs of shape (n, samples), each of mean 0 and variance 1 over the samples."""
    generator = np.random.Generator(np.random.Philox(13))
    rows = generator.standard_normal((min(n, _MOST_INPUTS), samples))
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= rows.std(axis=1, keepdims=True)
    return np.resize(rows, (n, samples)).astype(np.float32)


def _mixing(positions: int, samples: int) -> np.ndarray:
    """For each position an orthogonal matrix that mixes samples and keeps a mean of zero.

    Of shape (samples, positions times samples).
    """
    generator = np.random.Generator(np.random.Philox(17))
    start = generator.standard_normal((samples, samples))
    start[:, 0] = 1
    basis = np.linalg.qr(start)[0][:, 1:]
    turned = np.linalg.qr(generator.standard_normal((positions, samples - 1, samples - 1)))[0]
    mixing = basis @ turned @ basis.T
    return mixing.transpose(1, 0, 2).reshape(samples, -1).astype(np.float32)


def _shares(samples: int) -> np.ndarray:
    """For each column, the root of what is a position's own and of what it has in common."""
    common = np.repeat(np.array([overlap for _, overlap in VIEWS], np.float32), samples)
    return np.sqrt([1 - common, common])


def _by_view(state: ArrayLike) -> ArrayLike:
    """Of shape (n, c, views, samples)."""
    return state.reshape(*state.shape[:2], len(VIEWS), _samples_of(state))


def _samples_of(state: ArrayLike) -> int:
    return int(state.shape[-1]) // len(VIEWS)


def _start(step: Step, is_first: bool, samples: int) -> ArrayLike:
    """Return what enters the first layer, of shape (n, inputs, views times samples)."""
    xp = namespace_of(step.input_squares)
    n, inputs = step.input_squares.shape
    random = constant(step.input_squares, _random_inputs, inputs, samples)
    if is_first:
        return xp.stack([xp.concatenate([random] * len(VIEWS), -1)] * n)
    return _activated(_in_order_of(step.input_squares, xp.concatenate([random] * len(VIEWS), -1)))


def _in_order_of(keys: ArrayLike, rows: ArrayLike) -> ArrayLike:
    """Return rows by the ranks of the keys: the same in whatever order the inputs stand."""
    xp = namespace_of(keys)
    return rows[xp.argsort(xp.argsort(keys, -1), -1)]


def _fitted(state: ArrayLike, step: Step, channels: int) -> ArrayLike:
    """Return the state, or values as spread as its own, where the layer sees other channels.

    A flattened map or a concatenation changes the number, and frameworks order the values
    differently: only the mean and the spread mean the same in all of them.
    """
    if state.shape[1] == channels:
        return state
    xp = namespace_of(state)
    views = _by_view(state)
    mean = views.mean(-1)
    off = views - mean[..., None]
    spread = xp.sqrt((off * off).mean(-1).mean(1))[:, None, :, None]
    random = constant(state, _random_inputs, channels, _samples_of(state))
    given = _in_order_of(step.input_squares, random)[:, :, None, :]
    fitted = mean.mean(1)[:, None, :, None] + spread * given
    return fitted.reshape(fitted.shape[0], channels, -1)


def _patches(state: ArrayLike, positions: int) -> ArrayLike:
    """Return what the kernel's positions see, of shape (n, c, positions, views times samples)."""
    own_share, common_share = constant(state, _shares, _samples_of(state))
    mean = _spread_out(_over_samples(state), _samples_of(state))
    off = state - mean
    n, channels, columns = state.shape
    samples = _samples_of(state)
    by_view = (off * own_share).reshape(n, -1, samples)
    mixed = by_view @ constant(state, _mixing, positions, samples)
    seen = mixed.reshape(n, channels, len(VIEWS), positions, samples).swapaxes(2, 3)
    common = mean + off * common_share
    return seen.reshape(n, channels, positions, columns) + common[:, :, None, :]


def _spread_out(by_view: ArrayLike, samples: int) -> ArrayLike:
    """From one number a view to one a column."""
    return by_view @ (constant(by_view, _averages, samples).T * samples)


def _through(step: Step, state: ArrayLike) -> ArrayLike:
    layer = step.layer
    n, out, inputs = layer.kernel.shape[:3]
    positions = math.prod(layer.kernel.shape[3:])
    if layer.kind == "depthwise_conv":
        if out != state.shape[1] and out % state.shape[1] == 0:
            xp = namespace_of(state)
            state = xp.stack([state] * (out // state.shape[1]), 2).reshape(n, out, -1)
        state = _fitted(state, step, out) if state.shape[1] != out else state
        kernel = as_float32(layer.kernel.reshape(n, out, -1))
        after = (kernel[..., None, :] @ _patches(state, positions))[:, :, 0]
    else:
        state = _fitted(state, step, inputs)
        seen = (
            state if positions == 1 else _patches(state, positions).reshape(n, -1, state.shape[2])
        )
        after = as_float32(layer.kernel.reshape(n, out, -1)) @ seen
    if layer.gain is not None:
        after = after * layer.gain[:, :, None]
    after = clipped(after)
    return after if layer.bias is None else after + clipped(layer.bias)[:, :, None]


def _activated(state: ArrayLike) -> ArrayLike:
    xp = namespace_of(state)
    half = _samples_of(state) * len(OVERLAPS)
    return xp.concatenate([floored(state[..., :half], 0.0), xp.tanh(state[..., half:])], -1)


def _normalised(layer: SentLayer, state: ArrayLike) -> ArrayLike:
    """After a layer or group normalisation: each sample brought to unit power over channels."""
    own = layer.norm_scale if layer.norm_scale is not None else layer.norm_shift
    if own is None or own.shape[1] != state.shape[1]:
        return state
    xp = namespace_of(state)
    state = state / xp.sqrt(floored((state * state).mean(1)))[:, None]
    if layer.norm_scale is not None:
        state = state * layer.norm_scale[:, :, None]
    return state if layer.norm_shift is None else state + layer.norm_shift[:, :, None]


def _products(off: ArrayLike) -> ArrayLike:
    """Return the samples' products over their trace, from (n, c, views, samples)."""
    columns = off.swapaxes(1, 2)
    gram = columns.swapaxes(2, 3) @ columns
    return gram / floored((columns * columns).sum((2, 3)))[..., None, None]


def _over_samples(values: ArrayLike) -> ArrayLike:
    """Mean over each view's samples, of shape (n, c, views)."""
    return values @ constant(values, _averages, _samples_of(values))


def _averages(samples: int) -> np.ndarray:
    views = len(VIEWS)
    return np.repeat(np.eye(views, dtype=np.float32), samples, axis=0) / np.float32(samples)


def _hidden_numbers(
    power_before: ArrayLike, linear: ArrayLike, after: ArrayLike, step: Step
) -> tuple[ArrayLike, ArrayLike]:
    """Numbers of `_HIDDEN`, of shape (n, views, columns); and the power, of shape (n, views)."""
    xp = namespace_of(after)
    mean, second = _over_samples(linear), _over_samples(linear * linear)
    ratio = mean / xp.sqrt(floored(second - mean * mean, 1e-12))
    result, result_second = _over_samples(after), _over_samples(after * after)
    channels = mean.shape[1]
    power = floored(result_second.sum(1) / channels)
    expected = (step.neuron_squares.sum(-1) / step.neuron_squares.shape[1])[:, None] * power_before
    return xp.stack(
        [
            (_log(power) - _log(power_before)) / 2,
            _log(second.sum(1) / channels) - _log(expected),
            _over_samples(as_float32(linear > 0)).sum(1) / channels,
            as_float32(ratio < -2).sum(1) / channels,
            1 - (result * result).sum(1) / channels / power,
        ],
        -1,
    ), power


def _log(values: ArrayLike) -> ArrayLike:
    return namespace_of(values).log(floored(values, 1e-12))


def _softmax(values: ArrayLike) -> ArrayLike:
    """Over the first axis but one."""
    xp = namespace_of(values)
    exponentials = xp.exp(values - xp.amax(values, 1)[:, None])
    return exponentials / exponentials.sum(1)[:, None]


def _entropy(shares: ArrayLike) -> ArrayLike:
    return -(shares * _log(shares)).sum(1) / math.log(max(shares.shape[1], 2))


def _output_numbers(outputs: ArrayLike) -> list[ArrayLike]:
    """Numbers of `_OUTPUTS`, each of shape (n, views)."""
    xp = namespace_of(outputs)
    if outputs.shape[1] == 1:  # one output decides between two classes
        outputs = xp.concatenate([outputs / 2, -outputs / 2], 1)
    views = _by_view(outputs)
    views = views - views.mean(1)[:, None]
    mean = views.mean(-1)
    off = views - mean[..., None]
    samples = views.shape[-1]
    variance = (off * off).sum(-1) / (samples - 1)
    total = variance.mean(1)
    # What few inputs add to the means by chance is brought to what `SAMPLES` of them add.
    by_chance = total / SAMPLES
    between = (mean * mean).mean(1) - total / samples
    between = floored(between + by_chance - by_chance / 2, 0.0) + by_chance / 2
    deviation = xp.sqrt(floored(total))
    answers = _softmax(views / deviation[:, None, :, None])
    own = _softmax(views.clip(-1e6, 1e6))
    ordered = xp.amax(views, 1)
    rest = xp.amax(xp.where(views == ordered[:, None], views * 0 - 1e30, views), 1)
    unit = _products(off)
    squared = floored((unit * unit).sum((2, 3)) - 1 / (samples - 1), 0.0)
    varying = variance / floored(total)[:, None] - 1
    return [
        _log(total),
        _log(between),
        _log(between) - _log(total),
        squared,
        largest_share(unit.reshape(-1, samples, samples)).reshape(squared.shape),
        _entropy(_softmax(mean / deviation[:, None])),
        _entropy(answers.mean(-1)),
        xp.amax(own, 1).mean(-1),
        floored((ordered - rest).mean(-1), 0.0) / floored(deviation),
        xp.sqrt((varying * varying).mean(1)),
    ]


def propagate(steps: Sequence[Step], n_before: int) -> ArrayLike:
    """Describe how networks carry fixed Gaussian inputs through their last layers.

    Parameters
    ----------
    steps : sequence of Step
        Of networks with finite weights.
    n_before : int
        Layers that come before and are not looked at.

    Returns
    -------
    array of shape (n, len(PROPAGATION_NAMES))
    """
    xp = namespace_of(steps[0].neuron_squares)
    weights = sum(math.prod(step.layer.kernel.shape[1:]) for step in steps)
    samples = SAMPLES if weights <= _MOST_WEIGHTS else FEW_SAMPLES
    state = _start(steps[0], n_before == 0, samples)
    power = _over_samples(state * state).sum(1) / state.shape[1]
    hidden = []
    for step in steps[:-1]:
        linear = _normalised(step.layer, _through(step, state))
        state = linear if step.layer.kind == "embedding" else _activated(linear)
        numbers, power = _hidden_numbers(power, linear, state, step)
        hidden.append(numbers)
        scale = xp.where((power > 1e12) | (power < 1e-12), 1 / xp.sqrt(power), power * 0 + 1)
        state = (_by_view(state) * scale[:, None, :, None]).reshape(state.shape)
        power = power * scale * scale
    outputs = xp.stack(_output_numbers(_through(steps[-1], state)), -1)
    if not hidden:  # a network of one layer hides nothing
        hidden = [xp.stack([outputs[..., 0] * 0] * len(_HIDDEN), -1)]
    mean = sum(hidden) / len(hidden)
    found = xp.concatenate([outputs, hidden[0], hidden[-1], mean], -1)
    return found.reshape(found.shape[0], -1)
