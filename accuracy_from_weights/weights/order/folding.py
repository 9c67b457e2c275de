"""Folding of normalisations into the kernels that they belong to, which makes layers of both.

A batch normalisation right after a kernel is folded into it: the two are one linear map. After
an activation it is folded into the next kernel instead, again one linear map (but for the borders
of a padded convolution). Which of the two holds is known where the graph is. A state dict does
not tell, and then, in this order,

- the numbers of ``nn.Sequential`` tell: between layers 3 and 5 lies an activation;
- the running means tell: after a rectifier or a sigmoid none is negative, after a convolution
  about half of them are;
- the activation is assumed to come after the normalisation.

A run of kernels followed by a run of normalisations is matched by number of channels, aligned at
the end: in ``conv, bn`` the normalisation meets its kernel, and so it does in the two branches of
a residual block as Keras lists them (``conv_a, conv_b, bn_a, bn_b``) and in a module that
registers all convolutions before all normalisations.

A normalisation that stands *before* its kernel (pre-activation ResNets, pre-norm transformers)
follows, in this order, the kernel that last wrote to the residual stream which it normalises. It
is folded there, which measures what that kernel writes in units of the stream: scale the whole
stream by any factor, running statistics with it, and neither the network's answers nor the
layers read change. A normalisation that finds no kernel of its width is left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.weights.found_layers import Kernel, Normalisation, Part
from accuracy_from_weights.weights.layers import Array, Layer

_MEANS_ENOUGH = 8
"""Channels of which no running mean is negative by chance: one in 2^8 layers, at most."""


def layers_from_parts(parts: Iterable[Part]) -> tuple[Layer, ...]:
    """Fold every batch normalisation into a layer and attach every other one, in order."""
    sound = [part for part in map(_sound, parts) if part is not None]
    layers: list[Layer] = []
    # Kernels in a row, and the normalisations right after them.
    kernels: list[Kernel] = []
    for _, run in itertools.groupby(_folded_forward(_with_depthwise(sound)), type):
        row = list(run)
        norms = [part for part in row if isinstance(part, Normalisation)]
        if norms:
            layers += _joined(kernels, norms)
        kernels = [part for part in row if isinstance(part, Kernel)]
    return (*layers, *_joined(kernels, []))


def _sound(part: Part) -> Part | None:
    """Leave out what no network computes with, such as a bias of another width than the outputs."""
    if isinstance(part, Normalisation):
        return part
    if part.kernel.ndim < 2 or part.kernel.size == 0:
        return None
    if part.bias is not None and part.bias.shape != part.kernel.shape[:1]:
        return replace(part, bias=None)
    return part


def _with_depthwise(parts: Sequence[Part]) -> list[Part]:
    """Return the parts with depthwise convolutions told from those of one input channel.

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


def _folded_forward(parts: Sequence[Part]) -> list[Part]:
    """Fold each batch normalisation that follows an activation into the next kernel."""
    left: list[Part] = []
    waiting: list[Normalisation] = []
    last: Kernel | None = None
    for part in parts:
        if isinstance(part, Kernel):
            for normalisation in waiting:
                part = _with_scaled_inputs(part, normalisation)
            waiting, last = [], part
            left.append(part)
        elif part.variance is not None and _follows_activation(part, last):
            waiting.append(part)
        else:
            left.append(part)
    return left


def _follows_activation(normalisation: Normalisation, kernel: Kernel | None) -> bool:
    """Return whether an activation lies between a kernel and the batch normalisation after it."""
    if normalisation.before is not None:
        return normalisation.before in ("rectifier", "activation")
    if kernel is None:
        return False
    (*outer, own), (*other_outer, other) = normalisation.name.split("."), kernel.name.split(".")
    if outer == other_outer and own.isdigit() and other.isdigit():
        return int(own) > int(other) + 1
    means = normalisation.mean
    if means is None or means.size < _MEANS_ENOUGH:
        return False
    return bool((means >= 0).all() and (means > 0).any())


def _with_scaled_inputs(kernel: Kernel, normalisation: Normalisation) -> Kernel:
    """Fold a batch normalisation of a kernel's inputs into it, where its channels are the same."""
    width, (n_out, n_in) = normalisation.n_channels, kernel.kernel.shape[:2]
    gain, shift = _affine(normalisation, np.zeros(width))
    if kernel.kind == "depthwise_conv" and n_out % width == 0:
        axis = 0
        gain, shift = (np.repeat(a, n_out // width) for a in (gain, shift))
    elif n_in == width or (kernel.kernel.ndim == 2 and n_in % width == 0):
        axis = 1
        spread = np.tile if normalisation.is_channels_last else np.repeat
        gain, shift = (spread(a, n_in // width) for a in (gain, shift))
    else:
        return kernel
    stored = np.asarray(kernel.kernel)
    shape = [1] * stored.ndim
    shape[axis] = -1
    with np.errstate(all="ignore"):
        bias = (stored * shift.reshape(shape)).reshape(n_out, -1).sum(axis=1)
        if kernel.bias is not None:
            bias = bias + kernel.bias
        scaled = (stored * gain.reshape(shape)).astype(stored.dtype)
    return replace(kernel, kernel=scaled, bias=bias.astype(stored.dtype))


def _joined(kernels: Sequence[Kernel], normalisations: Sequence[Normalisation]) -> list[Layer]:
    """Return layers of kernels in a row and the normalisations right after them."""
    layers = [Layer(k.name, k.kind, k.kernel, k.bias) for k in kernels]
    # What a recurrent layer gives out is not what its kernel gives out, so that nothing can be
    # folded into it, nor through it into the kernels before.
    first = max((i + 1 for i, k in enumerate(kernels) if k.kind == "recurrent"), default=0)
    for width in {n.n_channels for n in normalisations}:
        slots = [i for i in range(first, len(layers)) if layers[i].shape[0] == width]
        same = [n for n in normalisations if n.n_channels == width]
        if slots:
            # Aligned at the end. Of more normalisations than kernels, all that are left over
            # meet the last kernel.
            slots = slots[-len(same) :]
            slots += slots[-1:] * (len(same) - len(slots))
        for slot, normalisation in zip(slots, same, strict=False):
            if normalisation.variance is not None:
                layers[slot] = _folded(layers[slot], normalisation)
            else:
                # Of two layer normalisations in a row (the last block's and the network's own) the
                # second undoes what the first has scaled, so that the second counts.
                scale, shift = normalisation.scale, normalisation.shift
                layers[slot] = replace(layers[slot], norm_scale=scale, norm_shift=shift)
    return layers


def _folded(layer: Layer, normalisation: Normalisation) -> Layer:
    """``gamma * (W x + b - mean) / sqrt(var + eps) + beta`` as one linear map."""
    dtype = layer.stored.dtype
    before = np.zeros(normalisation.n_channels) if layer.bias is None else layer.bias
    scale, shift = _affine(normalisation, before.astype(np.float64))
    with np.errstate(all="ignore"):  # a diverged network passes through as NaN and infinities
        gain: Array = scale.astype(dtype)
        if layer.gain is not None:
            gain = gain * layer.gain
        bias: Array = shift.astype(dtype)
    gain.flags.writeable = bias.flags.writeable = False
    return replace(layer, gain=gain, bias=bias)


def _affine(
    normalisation: Normalisation, values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what a batch normalisation multiplies by, and what it makes of a value a channel."""
    with np.errstate(all="ignore"):
        variance = np.asarray(normalisation.variance, np.float64)
        scale = 1.0 / np.sqrt(variance + normalisation.epsilon)
        if normalisation.scale is not None:
            scale = scale * normalisation.scale
        if normalisation.mean is not None:
            values = values - normalisation.mean
        values = values * scale
        if normalisation.shift is not None:
            values = values + normalisation.shift
    return scale, values
