"""Families of images that fill the frame: gratings, fields, textures, prototypes, teachers."""

from __future__ import annotations

import math

import numpy as np
from scipy import fft

from accuracy_from_weights.zoo_training.universe.canvas import (
    frequencies,
    grid,
    rolled,
    smooth_fields,
)
from accuracy_from_weights.zoo_training.universe.draft import Draft, Floats

_BLOCK = 1000
"""Images handled at once where each has a spectrum of its own."""


def _mixed(draft: Draft, layers: Floats, channels: int) -> Floats:
    """Mix layers, shape (n, layers, size, size), into the channels of an image in [-1, 1]."""
    if channels == 1 and layers.shape[1] == 1:
        return np.tanh(layers)
    mix = draft.rng.standard_normal((channels, layers.shape[1])) + 0.6
    mix /= np.sqrt((mix**2).sum(axis=1, keepdims=True))
    return np.tanh(np.einsum("cl,nlij->ncij", mix.astype(np.float32), layers, optimize=True))


def _gratings(draft: Draft, size: int, channels: int) -> Floats:
    """Add up waves whose direction and fineness belong to the class."""
    rng = draft.rng
    n_waves = int(rng.integers(1, 4))
    apart, within = draft.separation(0.12, 30.0, dimensions=2 * n_waves)
    fine, turn = draft.spread(apart, n_waves), draft.spread(apart, n_waves)
    spread = within * rng.standard_normal((2, draft.n, n_waves))
    cycles = np.exp(math.log(1.0) + (fine[draft.labels] + spread[0]) * math.log(size / 5))
    angle = math.pi * (turn[draft.labels] + spread[1])
    phase = rng.uniform(0, 2 * math.pi, (draft.n, n_waves))
    loud = np.exp(0.4 * rng.standard_normal((draft.n, n_waves)))
    x, y = grid(size)
    n_layers = 1 if channels == 1 or n_waves == 1 else n_waves
    layers = np.zeros((draft.n, n_layers, size, size), np.float32)
    for i in range(n_waves):
        across, down = (
            (math.pi * cycles[:, i] * part(angle[:, i])).astype(np.float32)[:, None, None]
            for part in (np.cos, np.sin)
        )
        wave = np.sin(across * x + down * y + phase[:, i].astype(np.float32)[:, None, None])
        layers[:, i % n_layers] += loud[:, i].astype(np.float32)[:, None, None] * wave
    return _mixed(draft, layers, channels)


def _fields(draft: Draft, size: int, channels: int) -> Floats:
    """Draw random fields whose roughness, direction and brightness belong to the class."""
    rng = draft.rng
    apart, within = draft.separation(0.1, 30.0, dimensions=4)
    numbers = draft.spread(apart, 4)[draft.labels] + within * rng.standard_normal((draft.n, 4))
    exponent, stretch, turn, level = numbers.astype(np.float32).T[:, :, None, None]
    exponent, stretch = 0.4 + 2.6 * exponent, np.exp(2.4 * stretch - 1.2)
    cos, sin, level = np.cos(math.pi * turn), np.sin(math.pi * turn), level - 0.5
    level = np.float32(1 + 2 * draft.ease) * level
    across, down = frequencies(size)
    n_layers = 1 if channels == 1 else 2
    layers = np.empty((draft.n, n_layers, size, size), np.float32)
    for start in range(0, draft.n, _BLOCK):
        part = slice(start, start + _BLOCK)
        along = (cos[part] * across + sin[part] * down) * stretch[part]
        astride = (cos[part] * down - sin[part] * across) / stretch[part]
        gain = (np.sqrt(along**2 + astride**2) + np.float32(1 / size)) ** -exponent[part]
        gain[:, 0, 0] = 0
        noise = rng.standard_normal((len(gain), n_layers, size, size), dtype=np.float32)
        found = fft.irfft2(fft.rfft2(noise) * gain[:, None], s=(size, size))
        found /= found.std(axis=(1, 2, 3), keepdims=True) + np.float32(1e-6)
        layers[part] = found + level[part][:, None]
    return _mixed(draft, layers, channels)


def _textures(draft: Draft, size: int, channels: int) -> Floats:
    """Filter noise, bend it, and filter it again, as the class does: grain, spots, cells, veins."""
    rng = draft.rng
    apart, within = draft.separation(0.15, 10.0, widest=0.6)
    width = int(rng.integers(3, 6))
    kernels = draft.prototypes(apart, 2, width, width)
    kernels -= kernels.mean(axis=(2, 3), keepdims=True) * np.array([1.0, 0.0])[:, None, None]
    bends = draft.prototypes(apart, 3)
    n_layers = 1 if channels == 1 else 2
    layers = np.empty((draft.n, n_layers, size, size), np.float32)
    for start in range(0, draft.n, _BLOCK):
        labels = draft.labels[start : start + _BLOCK]
        own = kernels[labels] + within * rng.standard_normal((len(labels), 2, width, width))
        own = (own / np.sqrt((own**2).sum(axis=(2, 3), keepdims=True))).astype(np.float32)
        gain = fft.rfft2(own, s=(size, size))
        bend = bends[labels] + within * rng.standard_normal((len(labels), 3))
        ramp, fold, cut = bend.astype(np.float32).T[:, :, None, None, None]
        noise = rng.standard_normal((len(labels), n_layers, size, size), dtype=np.float32)
        x = fft.irfft2(fft.rfft2(noise) * gain[:, :1], s=(size, size))
        x = ramp * x + fold * np.abs(x) + np.maximum(x - cut, 0) * 2
        x = fft.irfft2(fft.rfft2(x) * gain[:, 1:], s=(size, size))
        layers[start : start + _BLOCK] = x / (x.std(axis=(1, 2, 3), keepdims=True) + 1e-6)
    return _mixed(draft, layers, channels)


def _prototypes(draft: Draft, size: int, channels: int) -> Floats:
    """Copy one of the class's patterns, shifted and mixed with other patterns."""
    rng = draft.rng
    modes = round(math.exp(rng.uniform(0, math.log(40)) * (1.1 - 0.8 * draft.ease)))
    modes = max(1, min(modes, draft.n // (8 * draft.n_classes)))
    exponent = draft.uniform(1.0, 2.6)
    apart, within = draft.separation(0.04, 3.0, widest=3.0)
    common = smooth_fields(rng, (1, 1, channels), size, exponent)
    own = smooth_fields(rng, (draft.n_classes, modes, channels), size, exponent)
    patterns = common * np.float32(math.sqrt(max(0.0, 1 - apart**2))) + np.float32(apart) * own
    x = patterns[draft.labels, rng.integers(modes, size=draft.n)]
    reach = round(draft.uniform(0, size / 4) * (1 - draft.ease))
    if reach:
        x = rolled(x, rng.integers(-reach, reach + 1, (draft.n, 2)))
    loud = np.exp(0.3 * rng.standard_normal((draft.n, 1, 1, 1))).astype(np.float32)
    rest = smooth_fields(rng, (draft.n, channels), size, draft.uniform(0.4, 1.0) * exponent)
    return np.tanh(loud * x + np.float32(within) * rest)


def _manifolds(draft: Draft, size: int, channels: int) -> Floats:
    """Let a random network draw images from a few numbers; classes are clouds among these."""
    rng = draft.rng
    n_latent, n_hidden = int(rng.integers(3, 17)), int(rng.integers(16, 49))
    apart = draft.between(0.08, 6.0) * draft.crowding(n_latent) / n_latent**0.25
    modes = int(rng.choice([1, 1, 2, 4]))
    centres = rng.standard_normal((draft.n_classes, modes, n_latent)) * apart
    latent = centres[draft.labels, rng.integers(modes, size=draft.n)]
    latent = latent + rng.standard_normal(latent.shape)
    gain = draft.uniform(0.6, 1.6) / math.sqrt(n_latent * (1 + apart**2))
    hidden = np.tanh(latent @ rng.standard_normal((n_latent, n_hidden)) * gain * 1.5)
    hidden += 0.3 * rng.standard_normal(n_hidden)
    basis = smooth_fields(rng, (n_hidden, channels), size, draft.uniform(1.0, 2.4))
    basis += 0.5 * smooth_fields(rng, (n_hidden, 1), size, 1.5)
    x = hidden.astype(np.float32) @ basis.reshape(n_hidden, -1)
    x = x.reshape(draft.n, channels, size, size)
    return np.tanh(np.float32(draft.uniform(0.7, 1.6)) * x / x.std())


def _teachers(draft: Draft, size: int, channels: int) -> Floats:
    """Let what random filters find in random images name the class."""
    rng = draft.rng
    n = draft.candidates(2.2)
    layers = smooth_fields(rng, (n, channels), size, draft.uniform(0.8, 2.2))
    # Images differ in what filters find: each has a colour balance and a contrast of its own.
    layers *= np.exp(0.5 * rng.standard_normal((n, channels, 1, 1))).astype(np.float32)
    layers += 0.5 * rng.standard_normal((n, channels, 1, 1)).astype(np.float32)
    x = np.tanh(layers)
    n_filters = max(2, round(draft.between(24, 2)))
    seen = np.empty((n, n_filters))
    spectrum = fft.rfft2(x)
    for i in range(n_filters):
        kernel = rng.standard_normal((channels, 3, 3)).astype(np.float32)
        if i % 2:
            kernel -= kernel.mean()
        response = (spectrum * fft.rfft2(kernel, s=(size, size))).sum(axis=1)
        response = np.maximum(fft.irfft2(response, s=(size, size)), 0)
        seen[:, i] = response.mean(axis=(1, 2), dtype=np.float64)
    seen = (seen - seen.mean(axis=0)) / seen.std(axis=0)
    scores = seen @ rng.standard_normal((n_filters, draft.n_classes))
    return x[draft.choose_by_scores(scores, draft.between(8.0, 0.02))]


FIELD_FAMILIES = {
    "gratings": _gratings,
    "fields": _fields,
    "textures": _textures,
    "prototypes": _prototypes,
    "manifolds": _manifolds,
    "teachers": _teachers,
}
