"""A stack's layers with all arrays in one place: in numpy, or where the large kernels lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accuracy_from_weights.features.array_ops import ArrayLike, as_float32, sent_to
from accuracy_from_weights.weights.device_arrays import DeviceArray
from accuracy_from_weights.weights.layers import Layer, NetworkStack


@dataclass(frozen=True, eq=False)
class SentLayer:
    """A layer of a stack, as `Layer`, its arrays all of numpy or all of PyTorch.

    Attributes
    ----------
    kernel : array of shape (n, out, inputs, *spatial)
    is_turned : bool
        Whether the kernel is an embedding's, which is measured as the embedded tokens' vectors.
    """

    kind: str
    kernel: ArrayLike
    gain: ArrayLike | None
    bias: ArrayLike | None
    norm_scale: ArrayLike | None
    norm_shift: ArrayLike | None
    is_turned: bool

    @property
    def measured(self) -> ArrayLike:
        """The kernel, of shape (n, inputs, out) where it is turned."""
        return self.kernel.swapaxes(1, 2) if self.is_turned else self.kernel

    @property
    def n_parameters(self) -> int:
        """Number of values of one network's layer, the gain aside."""
        others = (self.bias, self.norm_scale, self.norm_shift)
        return math.prod(self.kernel.shape[1:]) + sum(a.shape[1] for a in others if a is not None)


def sent_layers(stack: NetworkStack) -> list[SentLayer]:
    """Bring a stack's arrays together: to the device of the first kernel that lies on one."""
    stored: list[ArrayLike] = [layer.stored for layer in stack.layers]
    on_device = [array for array in stored if isinstance(array, DeviceArray)]
    if not on_device:
        return [_sent(layer, layer.stored, list(_others(layer))) for layer in stack.layers]
    like = on_device[0].tensor
    small = [
        array
        for layer in stack.layers
        for array in (layer.stored, *_others(layer))
        if array is not None and not isinstance(array, DeviceArray)
    ]
    # All that was copied while reading goes back in one piece.
    flat = np.concatenate([np.asarray(a, np.float32).ravel() for a in small] or [np.zeros(0, "f")])
    pieces = iter(sent_to(like, flat).split([a.size for a in small]))
    layers = []
    for layer in stack.layers:
        arrays = [
            None
            if a is None
            else _moved(a.tensor, like)
            if isinstance(a, DeviceArray)
            else next(pieces).reshape(a.shape)
            for a in (layer.stored, *_others(layer))
        ]
        layers.append(_sent(layer, arrays[0], arrays[1:]))
    return layers


def _moved(tensor: ArrayLike, like: ArrayLike) -> ArrayLike:
    return tensor if tensor.device == like.device else tensor.to(like.device)


def part_of(stack: NetworkStack, which: slice) -> NetworkStack:
    """Return some networks of a stack, as views."""
    layers = []
    for layer in stack.layers:
        others = [None if a is None else a[which] for a in (*layer.others, layer.gain)]
        layers.append(Layer(layer.name, layer.kind, layer.stored[which], *others))
    return NetworkStack(tuple(layers), len(layers[0].stored))


def _others(layer: Layer) -> tuple[ArrayLike | None, ...]:
    return layer.gain, layer.bias, layer.norm_scale, layer.norm_shift


def _sent(layer: Layer, kernel: ArrayLike, others: list[ArrayLike | None]) -> SentLayer:
    is_turned = layer.kind == "embedding" and kernel.ndim == 3
    gain, bias, scale, shift = (None if a is None else as_float32(a) for a in others)
    # Most files and most modules of users hold queries, keys and values as dense layers.
    kind = "dense" if layer.kind == "attention" else layer.kind
    return SentLayer(kind, kernel, gain, bias, scale, shift, is_turned)
