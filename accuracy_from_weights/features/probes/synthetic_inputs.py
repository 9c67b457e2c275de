"""Synthetic inputs of any kind and shape: always the same ones, and nobody's data.

Several kinds, because no single one is near to what every network was trained on: smooth shades,
overlapping shapes, strokes and textured objects on an empty ground, waves. White noise and plain
areas were tried and left out: with them the ranking of networks of an unseen data set was worse.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.draws import Draws
from accuracy_from_weights.features.input_spec import InputSpec
from accuracy_from_weights.features.probes.rows_and_tokens import table_inputs, token_inputs

Inputs = NDArray[Any]
_Floats = NDArray[np.float64]

INPUTS_PER_KIND = 32
"""Inputs of each of the kinds."""

_SEED = 20021144
_NUDGE = 0.1
# Inputs are kept for the next network that takes such, up to this size.
_KEPT_BYTES = 1 << 25
_LARGEST_IMAGE, _LONGEST_SIGNAL = 64, 512


def _grid(height: int, width: int) -> tuple[_Floats, _Floats]:
    """Places of the pixels' middles along the longer side's unit length."""
    side = max(height, width)
    y, x = (np.arange(height) + 0.5) / side, (np.arange(width) + 0.5) / side
    return y[:, None], x[None, :]


def _interpolation(knots: int, n: int) -> _Floats:
    """Weights of shape (n, knots) that interpolate linearly between evenly spaced knots."""
    places = np.linspace(0.0, knots - 1.0, n) if n > 1 else np.array([(knots - 1) / 2])
    return np.clip(1.0 - np.abs(places[:, None] - np.arange(knots)), 0.0, None)


def _shades(draws: Draws, n: int, height: int, width: int, knots: tuple[int, ...]) -> _Floats:
    """Smooth noise of unit spread; every image has one of the given numbers of knots a side."""
    images = np.empty((n, height, width))
    for i in range(n):
        k = knots[i % len(knots)]
        coarse = draws.normal(k, k)
        images[i] = _interpolation(k, height) @ coarse @ _interpolation(k, width).T
    images -= images.mean(axis=(1, 2), keepdims=True)
    return images / np.maximum(images.std(axis=(1, 2), keepdims=True), 1e-6)


def _smooth(draws: Draws, n: int, height: int, width: int) -> _Floats:
    contrast = draws.uniform(0.3, 0.8, n, 1, 1)
    shades = _shades(draws, n, height, width, (3, 4, 6, 9))
    return draws.uniform(-0.4, 0.4, n, 1, 1) + contrast * shades


def _leaves(draws: Draws, n: int, height: int, width: int) -> _Floats:
    """Discs and rectangles of random sizes that fall on each other until they cover the ground."""
    y, x = _grid(height, width)
    images = np.broadcast_to(draws.uniform(-1.0, 1.0, n, 1, 1), (n, height, width)).copy()
    for leaf in range(24):
        # Many small leaves and few large ones, as in photographs.
        size = 0.06 / np.sqrt(draws.uniform(0.02, 1.0, n, 1, 1))
        dy = np.abs(y - draws.uniform(0.0, y[-1, 0], n, 1, 1))
        dx = np.abs(x - draws.uniform(0.0, x[0, -1], n, 1, 1))
        shade = draws.uniform(-1.0, 1.0, n, 1, 1)
        inside = np.maximum(dy, dx) < size if leaf % 2 else dy**2 + dx**2 < size**2
        images = np.where(inside, shade, images)
    return images


def _on_empty_ground(draws: Draws, figure: _Floats, shade: _Floats) -> _Floats:
    """Put figures (1 inside, 0 outside) on a dark ground, every fourth on a bright one."""
    images = -1.0 + figure * (1.0 + shade)
    images[3::4] *= -1.0
    return images


def _strokes(draws: Draws, n: int, height: int, width: int) -> _Floats:
    """Curved strokes with soft edges, as of a pen."""
    y, x = _grid(height, width)
    t = np.linspace(0.0, 1.0, 12)[:, None]
    bend = np.concatenate([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=1)
    figure = np.zeros((n, height, width))
    for _ in range(3):
        # Three points a stroke; its middle may lie outside of where it begins and ends.
        points = bend @ draws.uniform(0.1, 0.9, n, 3, 2)
        rows, columns = points[..., 0] * y[-1, 0], points[..., 1] * x[0, -1]
        far = np.full((n, height, width), np.inf)
        for row, column in zip(rows.T, columns.T, strict=True):
            far = np.minimum(far, (y - row[:, None, None]) ** 2 + (x - column[:, None, None]) ** 2)
        thickness = draws.uniform(0.03, 0.09, n, 1, 1)
        edge = (thickness - np.sqrt(far)) / 0.04 + 0.5
        figure = np.maximum(figure, np.clip(edge, 0.0, 1.0))
    return _on_empty_ground(draws, figure, draws.uniform(0.4, 1.0, n, 1, 1))


def _objects(draws: Draws, n: int, height: int, width: int) -> _Floats:
    """Silhouettes with a texture of their own."""
    y, x = _grid(height, width)
    middle_y, middle_x = y[-1, 0] / 2 + y[0, 0] / 2, x[0, -1] / 2 + x[0, 0] / 2
    outline = 0.5 * _shades(draws, n, height, width, (3, 4))
    high = draws.uniform(0.2, 0.5, n, 1, 1) * max(2 * middle_y, 1e-6)
    wide = draws.uniform(0.2, 0.5, n, 1, 1) * max(2 * middle_x, 1e-6)
    far = ((y - middle_y) / high) ** 2 + ((x - middle_x) / wide) ** 2
    figure = np.clip((1.0 + 0.7 * outline - far) / 0.2 + 0.5, 0.0, 1.0)
    texture = _shades(draws, n, height, width, (4, 8, 14))
    shade = draws.uniform(-0.5, 0.7, n, 1, 1) + draws.uniform(0.1, 0.5, n, 1, 1) * texture
    return _on_empty_ground(draws, figure, np.clip(shade, -1.0, 1.0))


def _waves(draws: Draws, n: int, height: int, width: int) -> _Floats:
    """Gratings of every direction, from two periods an image to one in four pixels."""
    y, x = _grid(height, width)
    angle = draws.uniform(0.0, np.pi, n, 1, 1)
    fastest = max(max(height, width) / 4.0, 2.0)
    periods = 2.0 * (fastest / 2.0) ** draws.uniform(0.0, 1.0, n, 1, 1)
    phase = draws.uniform(0.0, 2.0 * np.pi, n, 1, 1)
    wave = np.sin(2.0 * np.pi * periods * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    return draws.uniform(-0.3, 0.3, n, 1, 1) + draws.uniform(0.3, 1.0, n, 1, 1) * wave


_Maker = Callable[[Draws, int, int, int], _Floats]

_MAKERS: dict[str, _Maker] = {
    "smooth": _smooth,
    "leaves": _leaves,
    "strokes": _strokes,
    "objects": _objects,
    "waves": _waves,
}

KINDS = tuple(_MAKERS)
"""Names of the kinds, in the order of the inputs."""

N_INPUTS = INPUTS_PER_KIND * len(KINDS)


def synthetic_inputs(spec: InputSpec) -> tuple[Inputs, Inputs]:
    """Return the inputs for networks that take inputs of a kind and shape, and nudged ones.

    Parameters
    ----------
    spec : InputSpec

    Returns
    -------
    inputs, nudged : ndarray of shape (N_INPUTS, *spec.shape), read-only
        The same on every machine, up to rounding. Numbers are float32 within the spec's span;
        `nudged` has noise of a twentieth of the span added. Tokens are int64; of the nudged ones
        about a tenth is replaced.
    """
    if 8 * N_INPUTS * math.prod(spec.shape) > _KEPT_BYTES:
        return _make(spec)
    return _kept(spec)


def _make(spec: InputSpec) -> tuple[Inputs, Inputs]:
    if spec.kind == "tokens":
        return token_inputs(spec, INPUTS_PER_KIND)
    made = table_inputs(spec, INPUTS_PER_KIND) if spec.kind == "table" else _images(spec)
    low, high = spec.usual_span
    middle, half = (high + low) / 2, (high - low) / 2
    inputs, nudged = (
        spec.from_images(np.asarray(middle + half * images, np.float32)) for images in made
    )
    for values in (inputs, nudged):
        values.flags.writeable = False
    return inputs, nudged


_kept = functools.lru_cache(maxsize=8)(_make)


def _images(spec: InputSpec) -> tuple[Inputs, Inputs]:
    """Draw images of shape (N_INPUTS, channels, height, width) in [-1, 1], and nudged ones."""
    channels, height, width = spec.pixels
    # Larger images hold no finer detail: they are drawn small and interpolated.
    largest = _LARGEST_IMAGE if height > 1 else _LONGEST_SIGNAL
    shrink = max(max(height, width) / largest, 1.0)
    rows, columns = (max(round(length / shrink), 1) for length in (height, width))
    inputs = np.empty((N_INPUTS, channels, rows, columns), np.float32)
    nudged = np.empty_like(inputs)
    for place, make in enumerate(_MAKERS.values()):
        draws = Draws(_SEED + place)
        grey = np.clip(make(draws, INPUTS_PER_KIND, rows, columns), -1.0, 1.0)
        of_kind = slice(place * INPUTS_PER_KIND, (place + 1) * INPUTS_PER_KIND)
        for channel, tint in enumerate(_tints(draws, channels)):
            image = grey * tint
            inputs[of_kind, channel] = image
            noise = _NUDGE * draws.normal(*image.shape)
            nudged[of_kind, channel] = np.clip(image + noise, -1.0, 1.0)
    if shrink == 1.0:
        return inputs, nudged
    return _enlarged(inputs, height, width), _enlarged(nudged, height, width)


def _enlarged(images: Inputs, height: int, width: int) -> Inputs:
    """Interpolate images of shape (n, channels, rows, columns) to another height and width."""
    n, channels, rows, columns = images.shape
    across = np.ascontiguousarray(_interpolation(columns, width).T, np.float32)
    down = np.ascontiguousarray(_interpolation(rows, height).T, np.float32)
    # One large product each way: numpy multiplies stacks of small matrices slowly.
    wide = (images.reshape(-1, columns) @ across).reshape(n, channels, rows, width)
    tall = np.moveaxis(wide, 2, 3).reshape(-1, rows) @ down
    return np.moveaxis(tall.reshape(n, channels, width, height), 2, 3)


def _tints(draws: Draws, channels: int) -> _Floats:
    """Draw a factor for each channel and input, shape (channels, n, 1, 1); half have no colour.

    More channels than a picture has are no colours, and may be opposed to each other.
    """
    if channels == 1:
        return np.ones((1, INPUTS_PER_KIND, 1, 1))
    tints = draws.uniform(0.3 if channels <= 4 else -1.0, 1.0, channels, INPUTS_PER_KIND, 1, 1)
    tints[:, ::2] = 1.0
    return tints
