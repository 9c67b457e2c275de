"""Description of a network's layers, the same for every framework and file format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

Path = tuple[str, ...]
"""A name of a layer or tensor, taken apart at the dots."""


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """One layer with a kernel.

    Attributes
    ----------
    name : str
        The layer's name in its framework, for messages only: no feature depends on it.
    kind : str
        ``"dense"``, ``"conv"``, ``"depthwise_conv"``, ``"transposed_conv"``, ``"attention"``,
        ``"recurrent"`` or ``"embedding"``.
    stored : ndarray of shape (out, in, *spatial)
        The kernel as the model holds it; a `DeviceArray` where it is large and on a GPU. ``in``
        counts the inputs that one output sees, so a depthwise kernel has ``in == 1``.
    bias : ndarray of shape (out,) or None
    norm_scale, norm_shift : ndarray of shape (channels,) or None
        Parameters of a layer or group normalisation that follows: it cannot be folded, since it
        depends on the input.
    gain : ndarray of shape (out,) or None
        What a batch normalisation that follows multiplies the stored kernel's outputs with. It is
        already folded into the bias.

    In a `NetworkStack` each array has one more, leading axis: the networks.
    """

    name: str
    kind: str
    stored: Array
    bias: Array | None = None
    norm_scale: Array | None = None
    norm_shift: Array | None = None
    gain: Array | None = None

    @property
    def kernel(self) -> Array:
        """The kernel with the gain folded in: made anew each time, to keep no second network."""
        if self.gain is None:
            return np.asarray(self.stored)
        gain = self.gain.reshape(*self.gain.shape, *(1,) * (self.stored.ndim - self.gain.ndim))
        with np.errstate(all="ignore"):  # a diverged network passes through as NaN and infinities
            kernel: Array = self.stored * gain
        kernel.flags.writeable = False
        return kernel

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the kernel."""
        return self.stored.shape

    @property
    def n_parameters(self) -> int:
        """Number of values in all arrays, the gain aside."""
        return math.prod(self.shape) + sum(a.size for a in self.others if a is not None)

    @property
    def arrays(self) -> tuple[Array | None, ...]:
        """The four arrays in a fixed order, absent ones as None."""
        return self.kernel, *self.others

    @property
    def others(self) -> tuple[Array | None, ...]:
        """All arrays but the kernel."""
        return self.bias, self.norm_scale, self.norm_shift


@dataclass(frozen=True, eq=False, slots=True)
class NetworkStack:
    """Networks of one architecture; every array has a leading axis of length ``n_networks``."""

    layers: tuple[Layer, ...]
    n_networks: int


@dataclass(frozen=True, eq=False, slots=True)
class NetworkWeights:
    """The layers of one network, in the order in which the data flows through them.

    Attributes
    ----------
    layers : tuple of Layer
    is_chain : bool
        Whether the layers are known to run one after another, with nothing but activations,
        pooling, reshaping and dropout between them. False where the source does not tell.
    is_rectified : bool
        Whether every activation between them is known to be a rectifier (ReLU).
    """

    layers: tuple[Layer, ...]
    is_chain: bool = False
    is_rectified: bool = False

    @property
    def n_parameters(self) -> int:
        """Number of values in all arrays."""
        return sum(layer.n_parameters for layer in self.layers)

    @property
    def is_finite(self) -> bool:
        """Whether no array holds NaN or an infinity."""
        return all(
            bool(np.isfinite(a).all())
            for layer in self.layers
            for a in layer.arrays
            if a is not None
        )

    @property
    def architecture(self) -> tuple[tuple[object, ...], ...]:
        """Kinds and shapes: networks of equal architecture can be stacked."""
        return tuple(
            (
                layer.kind,
                layer.shape,
                *(None if a is None else a.shape for a in layer.others),
            )
            for layer in self.layers
        )

    def as_stack(self) -> NetworkStack:
        """Return this network as a stack of one; arrays are views, not copies."""
        layers = []
        for layer in self.layers:
            rest = [None if a is None else a[None] for a in (*layer.others, layer.gain)]
            layers.append(Layer(layer.name, layer.kind, layer.stored[None], *rest))
        return NetworkStack(tuple(layers), 1)


def stack_networks(networks: Sequence[NetworkWeights]) -> NetworkStack:
    """Stack networks of one architecture.

    Raises
    ------
    ValueError
        When there is no network, or when their architectures differ.
    """
    if not networks:
        raise ValueError("There is no network to stack.")
    architecture = networks[0].architecture
    for network in networks[1:]:
        if network.architecture != architecture:
            raise ValueError(
                f"Networks of different architectures cannot be stacked: {architecture} and "
                f"{network.architecture}."
            )
    layers = []
    for same_layer in zip(*(network.layers for network in networks), strict=True):
        columns = zip(*(layer.arrays for layer in same_layer), strict=True)
        first = same_layer[0]
        kernel, *rest = (None if column[0] is None else np.stack(column) for column in columns)
        assert kernel is not None  # the first of a layer's arrays is never absent
        layers.append(Layer(first.name, first.kind, kernel, *rest))
    return NetworkStack(tuple(layers), len(networks))
