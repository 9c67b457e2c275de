"""Normalisations meet the kernels they follow: kernels and normalisations become layers.

Only the order of the parts is used, never a graph, because a state dict and a ``.weights.h5``
file know no more, and the same network must read the same from all of them.

A run of kernels followed by a run of normalisations is matched by number of channels, aligned at
the end: in ``conv, bn`` the normalisation meets its kernel, and so it does in the two branches of
a residual block as Keras lists them (``conv_a, conv_b, bn_a, bn_b``) and in a module that
registers all convolutions before all normalisations.

A normalisation that stands *before* its kernel (pre-activation ResNets, pre-norm transformers)
follows, in this order, the kernel that last wrote to the residual stream which it normalises. It
is folded there, which measures what that kernel writes in units of the stream: scale the whole
stream by any factor, running statistics with it, and neither the network's answers nor the
layers read change. A normalisation that finds no kernel of its width before it (at the input, or
after a concatenation) is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from accuracy_from_weights.weights.found_layers import Kernel, Normalisation, Part
from accuracy_from_weights.weights.layers import Array, Layer


@dataclass(slots=True)
class _Run:
    """Kernels in a row and the normalisations right after them."""

    kernels: list[Kernel] = field(default_factory=list)
    normalisations: list[Normalisation] = field(default_factory=list)


def layers_from_parts(parts: Iterable[Part]) -> tuple[Layer, ...]:
    """Fold every batch normalisation, attach every other one, and give the layers in order.

    Parameters
    ----------
    parts : iterable of Kernel and Normalisation
        In the order of data flow.

    Returns
    -------
    tuple of Layer
    """
    layers: list[Layer] = []
    sound = [part for part in map(_sound, parts) if part is not None]
    for run in _runs(_with_depthwise(sound)):
        layers.extend(_joined(run))
    return tuple(layers)


def _sound(part: Part) -> Part | None:
    """Leave out what no network computes with, and what files of other kinds only look like."""
    if isinstance(part, Normalisation):
        return part
    if part.kernel.ndim < 2 or part.kernel.size == 0:
        return None
    if part.bias is not None and part.bias.shape != part.kernel.shape[:1]:
        return replace(part, bias=None)
    return part


def _with_depthwise(parts: Sequence[Part]) -> list[Part]:
    """Tell depthwise convolutions from those of one input channel, by what comes before.

    Both have kernels of shape (out, 1, *spatial), but only the depthwise one is fed several
    channels, and it has a whole number of outputs for each.
    """
    resolved: list[Part] = []
    channels = 1
    for part in parts:
        if isinstance(part, Kernel):
            out, fan = part.kernel.shape[:2]
            guessed = part.kind == "conv" and not part.kind_is_known
            if guessed and fan == 1 and channels > 1 and out % channels == 0:
                part = replace(part, kind="depthwise_conv")
            channels = out
        resolved.append(part)
    return resolved


def _runs(parts: Iterable[Part]) -> list[_Run]:
    runs = [_Run()]
    for part in parts:
        if isinstance(part, Normalisation):
            runs[-1].normalisations.append(part)
        else:
            if runs[-1].normalisations:
                runs.append(_Run())
            runs[-1].kernels.append(part)
    return runs


def _joined(run: _Run) -> list[Layer]:
    layers = [Layer(k.name, k.kind, k.kernel, k.bias) for k in run.kernels]
    # What a recurrent layer gives out is not what its kernel gives out, so that nothing can be
    # folded into it, nor through it into the kernels before.
    first = max((i + 1 for i, k in enumerate(run.kernels) if k.kind == "recurrent"), default=0)
    for width in {n.n_channels for n in run.normalisations}:
        slots = [i for i in range(first, len(layers)) if layers[i].shape[0] == width]
        same = [n for n in run.normalisations if n.n_channels == width]
        if slots:
            # Aligned at the end. Of more normalisations than kernels, all that are left over
            # meet the last kernel.
            slots = slots[-len(same) :]
            slots += slots[-1:] * (len(same) - len(slots))
        for slot, normalisation in zip(slots, same, strict=False):
            layers[slot] = _normalised(layers[slot], normalisation)
    return layers


def _normalised(layer: Layer, normalisation: Normalisation) -> Layer:
    if normalisation.variance is not None:
        return _folded(layer, normalisation)
    # Of two layer normalisations in a row (the last block's and the network's own) the second
    # undoes what the first has scaled, so that the second counts.
    return replace(layer, norm_scale=normalisation.scale, norm_shift=normalisation.shift)


def _folded(layer: Layer, normalisation: Normalisation) -> Layer:
    """``gamma * (W x + b - mean) / sqrt(var + eps) + beta`` as one linear map."""
    dtype = layer.stored.dtype
    with np.errstate(all="ignore"):  # a diverged network passes through as NaN and infinities
        variance = np.asarray(normalisation.variance, np.float64)
        scale = 1.0 / np.sqrt(variance + normalisation.epsilon)
        if normalisation.scale is not None:
            scale *= normalisation.scale
        shift = np.zeros_like(scale) if layer.bias is None else layer.bias.astype(np.float64)
        if normalisation.mean is not None:
            shift = shift - normalisation.mean
        shift = shift * scale
        if normalisation.shift is not None:
            shift = shift + normalisation.shift
        gain: Array = scale.astype(dtype)
        if layer.gain is not None:
            gain = gain * layer.gain
        bias: Array = shift.astype(dtype)
    gain.flags.writeable = bias.flags.writeable = False
    return replace(layer, gain=gain, bias=bias)
