"""What one input of a network looks like: its kind, shape, vocabulary and range of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accuracy_from_weights.errors import UnsupportedModelError

INPUT_KINDS = ("image", "table", "tokens", "signal")
"""Pictures, rows of a table, sequences of numbered tokens, and sequences of measurements."""

USUAL_TOKENS, USUAL_STEPS = 32, 64
"""Tokens of a sequence, and steps of a signal, where nothing tells how many a network takes."""

# A vector whose length is the square of at least this is taken for a flattened picture.
_SMALLEST_SIDE = 7
# What most data is brought to: pictures and signals between -1 and 1, columns of unit spread.
_USUAL_SPANS = {"image": (-1.0, 1.0), "signal": (-1.0, 1.0), "table": (-2.5, 2.5)}
# Neighbouring pixels are alike; columns of a table seldom are, in both directions.
_ALIKE = 0.35


@dataclass(frozen=True)
class InputSpec:
    """What one input of a network looks like.

    Attributes
    ----------
    kind : {"image", "table", "tokens", "signal"}
    shape : tuple of int
        Of one input as the network takes it, without the batch axis. An image has one axis
        (flattened), two (without colour) or three, a signal two, a table and tokens one.
    vocabulary : int or None
        Tokens are whole numbers from 0 to ``vocabulary - 1``.
    channels_last : bool
        Whether the channels of an image or a signal stand last in `shape`.
    span : (low, high) or None
        Where nearly all numbers of the training data lie; None where that is not known.

    Raises
    ------
    UnsupportedModelError
        When a network cannot have such an input.
    """

    kind: str
    shape: tuple[int, ...]
    vocabulary: int | None = None
    channels_last: bool = False
    span: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        axes = {"image": (1, 2, 3), "signal": (2,)}.get(self.kind, (1,))
        if self.kind not in INPUT_KINDS:
            raise UnsupportedModelError(
                f"{self.kind!r} is no kind of input; use one of {', '.join(INPUT_KINDS)}."
            )
        if len(self.shape) not in axes or min(self.shape) < 1:
            raise UnsupportedModelError(
                f"{self.shape} is not the shape of one input of the kind {self.kind!r}; leave the "
                "batch axis out, as in (3, 32, 32) for an image or (128,) for tokens."
            )
        if (self.kind == "tokens") != (self.vocabulary is not None):
            raise UnsupportedModelError(
                "A vocabulary belongs to tokens and to no other input; pass kind='tokens' together "
                "with vocabulary, the number of different tokens."
            )

    @classmethod
    def of_shape(
        cls,
        shape: Sequence[int],
        channels_last: bool = False,
        plain_axes: bool = False,
        span: tuple[float, float] | None = None,
    ) -> InputSpec:
        """Return the spec of numbers of a shape.

        Parameters
        ----------
        shape : sequence of int
            Of one input, without the batch axis: three axes are an image, two a signal, one is a
            row of a table, or a flattened image where the length is a square of at least 7.
        channels_last : bool, default False
        plain_axes : bool, default False
            Whether two axes are the height and width of an image, as for a network that flattens
            its inputs.
        span : (low, high), optional
        """
        shape = tuple(int(length) for length in shape)
        if not 1 <= len(shape) <= 3 or min(shape) < 1:
            raise UnsupportedModelError(
                f"{shape} is not the shape of one input; pass one to three axes of at least 1, "
                "without the batch axis, as in (3, 32, 32) for an image."
            )
        kind = ("table", "signal", "image")[len(shape) - 1]
        side = math.isqrt(shape[0])
        is_flat = len(shape) == 1 and side >= _SMALLEST_SIDE and side**2 == shape[0]
        is_plain = len(shape) == 2 and plain_axes and min(shape) >= _SMALLEST_SIDE
        if is_flat or is_plain:
            kind = "image"
        return cls(kind, shape, None, channels_last and kind != "table", span)

    @property
    def pixels(self) -> tuple[int, int, int]:
        """Channels, height and width of the input as an image; a signal or a row has height 1."""
        shape = self.shape
        if len(shape) == 1:
            side = math.isqrt(shape[0]) if self.kind == "image" else 1
            return 1, side, shape[0] // side
        if len(shape) == 2 and self.kind == "image":
            return 1, shape[0], shape[1]
        if self.channels_last:
            shape = (shape[-1], *shape[:-1])
        return (shape[0], 1, shape[1]) if len(shape) == 2 else (shape[0], shape[1], shape[2])

    @property
    def usual_span(self) -> tuple[float, float]:
        """Where the numbers lie, or mostly lie where `span` is not known."""
        return _USUAL_SPANS[self.kind] if self.span is None else self.span

    def as_images(self, inputs: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return inputs (n, *shape) as images (n, channels, height, width)."""
        values = np.asarray(inputs, np.float32)
        if self.channels_last and len(self.shape) > 1:
            values = np.moveaxis(values, -1, 1)
        return values.reshape(len(values), *self.pixels)

    def from_images(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return images (n, channels, height, width) as inputs (n, *shape)."""
        if self.channels_last and len(self.shape) > 1:
            images = np.moveaxis(images, 1, -1)
        return np.ascontiguousarray(images).reshape(len(images), *self.shape)


def on_host(values: Any) -> NDArray[Any]:
    """Return a tensor of any framework as a numpy array on the host."""
    for method in ("detach", "cpu"):
        if hasattr(values, method):
            values = getattr(values, method)()
    if str(getattr(values, "dtype", "")).endswith("bfloat16") and hasattr(values, "float"):
        values = values.float()
    return np.asarray(values)


def span_of(values: ArrayLike) -> tuple[float, float] | None:
    """Return the lowest and highest usual number of a batch: its quantiles at 0.5% and 99.5%.

    None where the batch holds a number that is not finite, or one number only.
    """
    numbers = np.asarray(values, np.float32).ravel()
    # As many as the quantiles need: a batch of photographs holds millions.
    numbers = numbers[:: max(len(numbers) // 100_000, 1)]
    if not len(numbers) or not np.isfinite(numbers).all():
        return None
    low, high = np.quantile(numbers, (0.005, 0.995)).tolist()
    return (low, high) if high > low else None


def looks_like_images(rows: NDArray[np.generic]) -> bool:
    """Return whether rows (n, side * side) are flattened images, whose neighbours are alike."""
    side = math.isqrt(rows.shape[1])
    images = np.asarray(rows, np.float64).reshape(-1, side, side)
    images = images - images.mean()
    power = (images**2).mean()
    if not power > 0:
        return False
    down = (images[:, 1:] * images[:, :-1]).mean() / power
    right = (images[:, :, 1:] * images[:, :, :-1]).mean() / power
    return bool(min(down, right) > _ALIKE)
