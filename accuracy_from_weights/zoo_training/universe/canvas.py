"""Drawing tools for families of images: coordinates, smooth fields, points and outlines."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from accuracy_from_weights.zoo_training.universe.draft import Floats, Integers

_ANGLES = 96


def grid(size: int) -> tuple[Floats, Floats]:
    """Return the coordinates of pixel centres, x and y in [-1, 1]: two arrays (size, size)."""
    places = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    y, x = np.meshgrid(places, places, indexing="ij")
    return x, y


def frequencies(size: int) -> tuple[Floats, Floats]:
    """Return the frequencies of `scipy.fft.rfft2` in cycles a pixel, across and down."""
    down, across = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    return across.astype(np.float32), down.astype(np.float32)


def smooth_fields(
    rng: np.random.Generator, shape: tuple[int, ...], size: int, exponent: float
) -> Floats:
    """Draw fields, (*shape, size, size), whose amplitude falls with a power of the frequency.

    They have unit variance.
    """
    across, down = frequencies(size)
    fall = (np.hypot(across, down) + 1.0 / size) ** -np.float32(exponent)
    fall[0, 0] = 0.0
    noise = rng.standard_normal((*shape, size, size), dtype=np.float32)
    # White noise comes to the mean of the squared gain; all but two columns count twice.
    twice = np.full(fall.shape, 2.0)
    twice[:, 0] = 1.0
    if size % 2 == 0:
        twice[:, -1] = 1.0
    variance = float((twice * fall**2).sum()) / size**2
    return filtered(noise, (fall / math.sqrt(variance)).astype(np.float32))


def filtered(images: Floats, gain: Floats) -> Floats:
    """Multiply the spectrum of images, shape (..., size, size), by a gain."""
    size = images.shape[-1]
    found: Floats = fft.irfft2(fft.rfft2(images) * gain, s=(size, size))
    return found


def blurred(images: Floats, width: float) -> Floats:
    """Blur images by a Gaussian whose standard deviation is given in units of half an image."""
    size = images.shape[-1]
    across, down = frequencies(size)
    pixels = width * size / 2
    return filtered(images, np.exp(-2 * (math.pi * pixels) ** 2 * (across**2 + down**2)))


def affine(
    rng: np.random.Generator, n: int, turn: float, scale: float, shift: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw how images are turned, scaled, sheared, (n, 2, 2), and shifted, (n, 2)."""
    angle, size = turn * rng.standard_normal(n), np.exp(scale * rng.standard_normal(n))
    shear = scale * rng.standard_normal(n)
    cos, sin = np.cos(angle) * size, np.sin(angle) * size
    rows = [np.stack([cos, shear * cos - sin], 1), np.stack([sin, cos + shear * sin], 1)]
    return np.stack(rows, axis=1), shift * rng.standard_normal((n, 2))


def dabs(points: NDArray[np.float64], size: int) -> Floats:
    """Set a dab of ink at points, spread over the four pixels around each.

    Points, (n, k, 2), are x and y in [-1, 1]; those outside are lost. The ink is (n, size, size).
    """
    n = len(points)
    wide = size + 2
    place = np.clip((points + 1) * (size / 2) + 0.5, 0, wide - 1.001)
    low = place.astype(np.int64)
    part = place - low
    base = (np.arange(n) * wide * wide)[:, None] + low[..., 1] * wide + low[..., 0]
    ink = np.zeros(n * wide * wide)
    for dy in (0, 1):
        for dx in (0, 1):
            share = np.abs(1 - dx - part[..., 0]) * np.abs(1 - dy - part[..., 1])
            ink += np.bincount((base + dy * wide + dx).ravel(), share.ravel(), len(ink))
    return ink.reshape(n, wide, wide)[:, 1:-1, 1:-1].astype(np.float32)


def outlines(
    radii: NDArray[np.float64],
    centre: NDArray[np.float64],
    turn: NDArray[np.float64],
    size: int,
) -> Floats:
    """Return how deep inside a shape each pixel lies: (n, size, size), float32.

    That is the radius of the outline, given at every angle as (n, angles), less the pixel's
    distance from the centre, (n, 2). Shapes are turned by so many radians, (n,).
    """
    x, y = grid(size)
    n, n_angles = radii.shape
    dx = x - centre[:, 0, None, None].astype(np.float32)
    dy = y - centre[:, 1, None, None].astype(np.float32)
    angle = np.arctan2(dy, dx) + turn[:, None, None].astype(np.float32)
    place = np.floor(angle * np.float32(n_angles / (2 * math.pi))).astype(np.int64) % n_angles
    place += (np.arange(n) * n_angles)[:, None, None]
    return radii.astype(np.float32).ravel()[place] - np.sqrt(dx * dx + dy * dy)


def angles() -> NDArray[np.float64]:
    """Return the angles at which outlines are given, in radians."""
    return np.arange(_ANGLES) / _ANGLES * 2 * math.pi


def soft_step(depth: Floats, size: int) -> Floats:
    """Turn depth inside a shape into ink in [0, 1], with an edge about a pixel wide."""
    return 0.5 + 0.5 * np.tanh(depth * np.float32(size / 2))


def rolled(images: Floats, shift: Integers) -> Floats:
    """Shift images, (n, channels, size, size), by whole pixels, (n, 2), around the edges."""
    size = images.shape[-1]
    steps = np.arange(size)
    rows = (steps - shift[:, 0, None]) % size
    columns = (steps - shift[:, 1, None]) % size
    channels = np.arange(images.shape[1])[:, None, None]
    return images[
        np.arange(len(images))[:, None, None, None],
        channels,
        rows[:, None, :, None],
        columns[:, None, None],
    ]
