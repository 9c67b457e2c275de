"""Signals: tones, chirps, events, autoregressive noise, warped waveforms and echoes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from accuracy_from_weights.zoo_training.universe.draft import Draft, Floats

FAMILIES = {
    "tones": 0.18,
    "chirps": 0.16,
    "events": 0.18,
    "autoregressive": 0.16,
    "waveforms": 0.2,
    "echoes": 0.12,
}
"""How often each family is drawn."""


def draw_form(rng: np.random.Generator) -> dict[str, Any]:
    """Draw the number of channels and of samples in time."""
    return {
        "channels": int(rng.choice([1, 2, 3], p=[0.5, 0.2, 0.3])),
        "length": round(math.exp(rng.uniform(math.log(32), math.log(160)))),
    }


def most_examples(form: Mapping[str, Any]) -> int:
    """Return how many signals a task may have: fewer where they are long."""
    return 1_200_000 // (form["length"] * form["channels"])


def make_examples(draft: Draft) -> Floats:
    """Draw signals, (n, channels, length), float32; each channel is about standardised."""
    rng = draft.rng
    channels, length = draft.facts["channels"], draft.facts["length"]
    x = _FAMILIES[draft.family](draft, channels, length)
    x = x / (x.std() + 1e-9)
    hard = 1.1 - draft.ease
    if draft.chance(0.4):
        x = x * np.exp(draft.uniform(0, 0.6) * hard * rng.standard_normal((draft.n, 1, 1)))
    if draft.chance(0.3):
        drift = np.cumsum(rng.standard_normal(x.shape), axis=2) / math.sqrt(length)
        x = x + draft.uniform(0, 1.0) * hard * drift
    if draft.chance(0.6):
        x = x + draft.uniform(0, 1.0) * hard * rng.standard_normal(x.shape)
    if draft.chance(0.2):
        # A sensor that is silent for a while.
        start, width = rng.integers(length, size=(draft.n, 1, 1)), int(length * 0.3 * hard) + 1
        time = np.arange(length)
        x = np.where((time >= start) & (time < start + width), 0.0, x)
    x = (x - x.mean(axis=(0, 2), keepdims=True)) / (x.std(axis=(0, 2), keepdims=True) + 1e-9)
    return x.astype(np.float32)


def _time(length: int) -> np.ndarray:
    return (np.arange(length) + 0.5) / length


def _tones(draft: Draft, channels: int, length: int) -> np.ndarray:
    """Mix tones whose pitch and loudness belong to the class."""
    rng = draft.rng
    n_tones = int(rng.integers(1, 4))
    apart, within = draft.separation(0.1, 12.0, dimensions=n_tones + 1)
    highest = math.log(length / 5)
    pitch = draft.spread(apart, n_tones)[draft.labels]
    pitch = pitch + within * rng.standard_normal((draft.n, n_tones))
    cycles = np.exp(0.7 + pitch * (highest - 0.7))
    loud = 0.7 * draft.prototypes(apart, channels, n_tones)[draft.labels]
    loud = np.exp(loud + 2 * within * rng.standard_normal(loud.shape))
    phase = rng.uniform(0, 2 * math.pi, (draft.n, n_tones))
    waves = np.sin(2 * math.pi * cycles[..., None] * _time(length) + phase[..., None])
    return np.einsum("nct,ntl->ncl", loud, waves)


def _chirps(draft: Draft, channels: int, length: int) -> np.ndarray:
    """Let a tone rise or fall, and swell and fade, as the class does."""
    rng = draft.rng
    apart, within = draft.separation(0.1, 12.0, dimensions=4)
    first, last, centre, width = (
        draft.spread(apart, 4)[draft.labels] + within * rng.standard_normal((draft.n, 4))
    ).T[..., None]
    time = _time(length)
    slowest, fastest = 1.5, length / 6
    a, b = (slowest * (fastest / slowest) ** np.clip(v, -0.2, 1.2) for v in (first, last))
    phase = rng.uniform(0, 2 * math.pi, (draft.n, 1))
    wave = np.sin(2 * math.pi * (a * time + (b - a) * time**2 / 2) + phase)
    envelope = np.exp(-(((time - centre) / (0.1 + 0.5 * np.abs(width))) ** 2))
    gain = rng.normal(1.0, 0.5, channels)
    x = (wave * envelope)[:, None] * gain[:, None]
    return x + 0.3 * within * rng.standard_normal(x.shape)


def _events(draft: Draft, channels: int, length: int) -> np.ndarray:
    """Scatter short pulses of the class over noise."""
    rng = draft.rng
    width = int(rng.integers(5, max(6, length // 4)))
    pulse = draft.prototypes(draft.uniform(0.4, 1.0), channels, width)
    pulse = _smoothed(pulse, draft.uniform(0.5, 2.0)) * np.hanning(width + 2)[1:-1]
    pulse /= np.abs(pulse).max() + 1e-9
    x = rng.standard_normal((draft.n, channels, length)) * draft.between(2.5, 0.06)
    for _ in range(int(rng.integers(1, 4))):
        start = rng.integers(length - width + 1, size=draft.n)
        places = start[:, None] + np.arange(width)
        size = np.exp(0.2 * rng.standard_normal((draft.n, 1, 1)))
        rows = np.arange(draft.n)[:, None, None], np.arange(channels)[:, None], places[:, None]
        x[rows] += pulse[draft.labels] * size
    return x


def _autoregressive(draft: Draft, channels: int, length: int) -> np.ndarray:
    """Filter noise by two resonances that belong to the class."""
    rng = draft.rng
    apart, within = draft.separation(0.1, 12.0, dimensions=2 * channels)
    pitch = draft.spread(apart, channels)
    sharp = draft.prototypes(apart, channels)[draft.labels]
    angle = pitch[draft.labels] + within * rng.standard_normal((draft.n, channels))
    angle = math.pi * np.clip(angle, 0.02, 0.98)
    sharp = sharp + within * rng.standard_normal(sharp.shape)
    radius = 0.99 - 0.5 * (1.2 - draft.ease) / (1 + np.exp(2 * sharp))
    first, second = 2 * radius * np.cos(angle), -(radius**2)
    burn_in = 40
    noise = rng.standard_normal((length + burn_in, draft.n, channels))
    x = np.zeros_like(noise)
    for i in range(2, length + burn_in):
        x[i] = first * x[i - 1] + second * x[i - 2] + noise[i]
    x = np.moveaxis(x[burn_in:], 0, 2)
    return x / (x.std(axis=2, keepdims=True) + 1e-9)


def _waveforms(draft: Draft, channels: int, length: int) -> np.ndarray:
    """Stretch and bend curves that belong to the class, as a hand or a heart does."""
    rng = draft.rng
    apart, within = draft.separation(0.08, 8.0, widest=1.0)
    modes, roughness = int(rng.integers(1, 4)), draft.uniform(0.8, 2.0)
    curves = draft.prototypes(apart, modes, channels, length)
    curves = _smoothed(curves, roughness)
    curve = curves[draft.labels, rng.integers(modes, size=draft.n)]
    bend = _smoothed(rng.standard_normal((draft.n, length)), 2.5)
    shift = draft.uniform(0, 0.25) * rng.standard_normal((draft.n, 1))
    place = np.arange(length) + length * (0.04 * bend + shift * (1 - draft.ease))
    left = np.floor(place).astype(np.int64)
    part = (place - left)[:, None]
    rows, over = np.arange(draft.n)[:, None, None], np.arange(channels)[:, None]
    x = curve[rows, over, (left % length)[:, None]] * (1 - part)
    x += curve[rows, over, ((left + 1) % length)[:, None]] * part
    return x + within * _smoothed(rng.standard_normal(x.shape), roughness)


def _echoes(draft: Draft, channels: int, length: int) -> np.ndarray:
    """Add noise to itself some time later, or to other channels: the delay names the class."""
    rng = draft.rng
    longest = length // 3
    # Each delay names two classes, which its sign tells apart.
    n_delays = (draft.n_classes + 1) // 2
    delays = 1 + (longest - 1) * (np.arange(n_delays) + 0.5) / n_delays
    vague = longest * draft.between(1.0, 0.02) / n_delays
    source = rng.standard_normal((draft.n, length + longest))
    if draft.chance(0.5):
        source[:, 1:] += draft.uniform(0.2, 0.9) * source[:, :-1]
    source /= source.std()
    rows, time = np.arange(draft.n)[:, None], np.arange(length) + longest
    strength = draft.between(0.2, 1.0)
    x = [source[:, longest:]]
    for _ in range(max(1, channels - 1)):
        own = delays[rng.permutation(n_delays)[draft.labels // 2]]
        own += vague * rng.standard_normal(draft.n)
        delay = np.clip(np.round(own), 0, longest).astype(np.int64)
        sign = 1.0 - 2.0 * (draft.labels % 2)[:, None]
        x.append(sign * strength * source[rows, time - delay[:, None]])
    if channels == 1:
        return (x[0] + x[1])[:, None]
    noise = (1 - strength) * rng.standard_normal((draft.n, channels, length))
    return np.stack(x, axis=1) + noise


def _smoothed(noise: np.ndarray, exponent: float) -> np.ndarray:
    """Return noise whose spectrum falls with a power of the frequency, at unit variance."""
    length = noise.shape[-1]
    frequency = np.arange(length // 2 + 1, dtype=np.float64)
    fall = np.where(frequency == 0, 0.0, np.maximum(frequency, 1.0) ** -exponent)
    smooth = np.fft.irfft(np.fft.rfft(noise, axis=-1) * fall, n=length, axis=-1)
    # The variance that white noise comes to after this filter.
    twice = np.full(len(fall), 2.0)
    if length % 2 == 0:
        twice[-1] = 1.0
    return smooth / math.sqrt(float((twice * fall**2).sum()) / length)


_FAMILIES = {
    "tones": _tones,
    "chirps": _chirps,
    "events": _events,
    "autoregressive": _autoregressive,
    "waveforms": _waveforms,
    "echoes": _echoes,
}
