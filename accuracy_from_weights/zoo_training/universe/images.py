"""Images: ten families of them, and the light, colour, noise and clutter that all may meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.zoo_training.universe.canvas import blurred, grid, smooth_fields
from accuracy_from_weights.zoo_training.universe.draft import Draft, Floats
from accuracy_from_weights.zoo_training.universe.image_fields import FIELD_FAMILIES
from accuracy_from_weights.zoo_training.universe.image_shapes import SHAPE_FAMILIES, strokes

FAMILIES = {
    "strokes": 0.18,
    "blobs": 0.1,
    "shapes": 0.12,
    "parts": 0.1,
    "gratings": 0.07,
    "fields": 0.07,
    "textures": 0.09,
    "prototypes": 0.1,
    "manifolds": 0.1,
    "teachers": 0.07,
}
"""How often each family is drawn."""

_SIZES = (8, 10, 12, 14, 16, 20, 24, 28, 32)
_SIZE_SHARES = (0.1, 0.07, 0.13, 0.08, 0.24, 0.1, 0.08, 0.12, 0.08)
_MOST_VALUES = 9_000_000
"""All pixels of a task together: larger images come in smaller numbers."""


def draw_form(rng: np.random.Generator) -> dict[str, Any]:
    """Draw the size of images and whether they have colours."""
    return {
        "size": int(rng.choice(_SIZES, p=_SIZE_SHARES)),
        "channels": 3 if rng.random() < 0.4 else 1,
    }


def most_examples(form: Mapping[str, Any]) -> int:
    """Return how many images a task may have: fewer where they are large."""
    return _MOST_VALUES // (form["size"] ** 2 * form["channels"])


def make_examples(draft: Draft) -> NDArray[np.uint8]:
    """Draw images: (n, channels, size, size), uint8."""
    size, channels = draft.facts["size"], draft.facts["channels"]
    if draft.family in SHAPE_FAMILIES:
        ink = SHAPE_FAMILIES[draft.family](draft, size)
        x = _coloured(draft, ink, channels)
    else:
        x = FIELD_FAMILIES[draft.family](draft, size, channels)
    x = _disturbed(draft, x)
    return ((np.clip(x, -1, 1) + 1) * np.float32(127.5) + np.float32(0.5)).astype(np.uint8)


def _coloured(draft: Draft, ink: Floats, channels: int) -> Floats:
    """Paint with ink, shape (n, size, size) in [0, 1], on a ground: (n, channels, ...) in [-1, 1].

    Colours are the task's, the image's or, in part, the class's.
    """
    rng = draft.rng
    n, size = draft.n, ink.shape[-1]
    if channels == 1 and draft.chance(0.6):
        x = 2 * ink[:, None] - 1
        return -x if draft.chance(0.25) else x
    apart, within = draft.separation(0.1, 6.0, widest=0.5)
    colours = rng.uniform(-1, 1, (2, 1, channels)) + within * rng.standard_normal((2, n, channels))
    way = rng.integers(4)
    if way == 0:
        colours[0] += apart * rng.standard_normal((draft.n_classes, channels))[draft.labels]
    elif way == 1:
        # Any colours at all, so that shape alone can tell.
        colours = rng.uniform(-1, 1, (2, n, channels))
    # Figure and ground keep some contrast.
    sign = np.where(colours[0].mean(-1) >= colours[1].mean(-1), 1.0, -1.0)[:, None]
    if way != 1:
        sign = np.ones_like(sign) * (1.0 if draft.chance(0.7) else -1.0)
    figure, ground = (
        np.clip(c, -1, 1).astype(np.float32)[..., None, None]
        for c in (colours[0] + 0.6 * sign, colours[1] - 0.6 * sign)
    )
    if draft.chance(0.4):
        rough = draft.uniform(0.8, 2.5)
        each = 1 if draft.chance(0.5) else channels
        strength = np.float32(draft.uniform(0.1, 0.9) * (1.1 - draft.ease))
        ground = ground + strength * smooth_fields(rng, (n, each), size, rough)
    ink = ink[:, None]
    return np.clip(ground, -1, 1) * (1 - ink) + figure * ink


def _disturbed(draft: Draft, x: Floats) -> Floats:
    """Add what stands between an object and its picture, more of it where tasks are hard."""
    rng = draft.rng
    n, channels, size = x.shape[:3]
    hard = np.float32(1.1 - draft.ease)
    found = []
    if draft.chance(0.15):
        found.append("clutter")
        labels = rng.integers(8, size=draft.n)
        other = Draft(rng, "strokes", 8, draft.shares, labels, draft.n_train, ease=0.5)
        amount = np.float32(draft.uniform(0.1, 0.7)) * hard
        x = x * (1 - amount) + amount * (2 * strokes(other, size)[:, None] - 1)
    if draft.chance(0.4):
        found.append("light")
        contrast = np.exp(draft.uniform(0, 0.5) * hard * rng.standard_normal((n, 1, 1, 1)))
        bright = draft.uniform(0, 0.35) * hard * rng.standard_normal((n, channels, 1, 1))
        x = x * contrast.astype(np.float32) + bright.astype(np.float32)
    if draft.chance(0.15):
        found.append("shade")
        across, down = grid(size)
        slope = draft.uniform(0.1, 0.6) * hard * rng.standard_normal((2, n, 1, 1, 1))
        x = x + slope[0].astype(np.float32) * across + slope[1].astype(np.float32) * down
    if draft.chance(0.15):
        found.append("occlusion")
        width = max(2, round(size * draft.uniform(0.15, 0.6) * float(hard)))
        corner = rng.integers(0, size - width + 1, (n, 2, 1))
        inside = (np.arange(size) >= corner) & (np.arange(size) < corner + width)
        box = (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]
        x = np.where(box, np.float32(draft.uniform(-1, 1)), x)
    if draft.chance(0.12):
        found.append("blur")
        x = blurred(x, draft.uniform(0.5, 1.5) / size)
    if draft.chance(0.35):
        found.append("noise")
        amount = np.float32(draft.uniform(0, 0.6)) * hard
        x = x + amount * rng.standard_normal(x.shape, dtype=np.float32)
    draft.facts["disturbed_by"] = found
    return x.astype(np.float32)
