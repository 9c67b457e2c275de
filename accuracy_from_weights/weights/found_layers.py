"""Kernels and normalisations in order, as the readers find them, before anything is folded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from accuracy_from_weights.weights.layers import Array

TORCH_EPSILON = 1e-5
"""Default epsilon of a batch normalisation in PyTorch and in Flax."""

KERAS_EPSILON = 1e-3
"""Default epsilon of a batch normalisation in Keras."""


@dataclass(frozen=True, eq=False, slots=True)
class Kernel:
    """One linear map, already laid out as ``(out, in, *spatial)``.

    Attributes
    ----------
    name : str
    kind : str
        As in `Layer`.
    kernel : ndarray of shape (out, in, *spatial)
    bias : ndarray of shape (out,) or None
    kind_is_known : bool
        Whether ``kind`` was read from the layer itself, rather than guessed from a shape.
    before : str or None
        What lies between it and the layer before: ``"pass"`` (nothing, or pooling and reshaping),
        ``"rectifier"``, ``"activation"`` (of another kind); None where the source does not tell,
        and wherever the layers do not run one after another.
    """

    name: str
    kind: str
    kernel: Array
    bias: Array | None = None
    kind_is_known: bool = False
    before: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Normalisation:
    """A normalisation with one scale and one shift a channel.

    Attributes
    ----------
    name : str
    n_channels : int
    scale, shift : ndarray of shape (n_channels,) or None
        None stands for ones and zeros.
    mean, variance : ndarray of shape (n_channels,) or None
        Running statistics of a batch normalisation; None for layer, group and RMS normalisation.
    epsilon : float
        Added to the variance.
    before : str or None
        What lies between it and the layer that feeds it, as in `Kernel`.
    is_channels_last : bool
        Whether the framework puts the channels last, as Keras and Flax do: flattening then
        repeats all channels for each position.
    """

    name: str
    n_channels: int
    scale: Array | None
    shift: Array | None
    mean: Array | None = None
    variance: Array | None = None
    epsilon: float = TORCH_EPSILON
    before: str | None = None
    is_channels_last: bool = False


Part: TypeAlias = Kernel | Normalisation
