"""Families of images drawn in ink: strokes, blobs, compositions of shapes, and parts in place."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.zoo_training.universe.canvas import (
    affine,
    angles,
    blurred,
    dabs,
    outlines,
    smooth_fields,
    soft_step,
)
from accuracy_from_weights.zoo_training.universe.draft import Draft, Floats

_POINTS = 22
"""Points along a stroke."""


def strokes(draft: Draft, size: int) -> Floats:
    """Write characters of one to three curved strokes; a class may have several ways of writing.

    The ink, (n, size, size), is float32 in [0, 1], as that of all families here.
    """
    rng = draft.rng
    apart, within = draft.separation(0.15, 14.0)
    n_strokes, ways = int(rng.integers(1, 4)), int(rng.choice([1, 1, 2, 4]))
    shape = (ways, n_strokes, 4, 2)
    control = rng.uniform(-0.8, 0.8, (1, *shape)) * (1 - apart)
    control = control + apart * rng.uniform(-0.85, 0.85, (draft.n_classes, *shape))
    control = control[draft.labels, rng.integers(ways, size=draft.n)]
    control = control + within * rng.standard_normal(control.shape)
    t = np.linspace(0, 1, _POINTS)
    bezier = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3], axis=1)
    points = np.einsum("tk,nskd->nstd", bezier, control).reshape(draft.n, -1, 2)
    hard = 1.2 - draft.ease
    matrix, offset = affine(
        rng, draft.n, *(hard * draft.uniform(0, most) for most in (0.6, 0.3, 0.25))
    )
    points = np.einsum("nij,npj->npi", matrix, points) + offset[:, None]
    width = max(draft.uniform(0.03, 0.09), 0.75 / size)
    return _inked(dabs(points, size), size, width, draft.uniform(0.8, 2.0))


def _inked(ink: Floats, size: int, width: float, strength: float) -> Floats:
    """Spread dabs of ink to a width, and let it saturate."""
    ink = blurred(ink, width)
    # What a stroke as long as half an image, of evenly spaced dabs, comes to along its middle.
    level = _POINTS / (size / 2) / (width * size / 2 * math.sqrt(2 * math.pi))
    return 1 - np.exp(-np.float32(strength / level) * np.maximum(ink, 0))


def _blobs(draft: Draft, size: int) -> Floats:
    """Fill, or outline, wavy closed curves."""
    rng = draft.rng
    apart, within = draft.separation(0.12, 10.0, widest=0.5)
    n_waves = 6
    fall = 0.55 / np.arange(1, n_waves + 1) ** draft.uniform(0.3, 1.2)
    waves = draft.prototypes(apart, 2, n_waves)[draft.labels]
    waves = (waves + within * rng.standard_normal(waves.shape)) * fall
    turns = np.arange(1, n_waves + 1)[:, None] * angles()
    log_radius = waves[:, 0] @ np.cos(turns) + waves[:, 1] @ np.sin(turns)
    hard = 1.2 - draft.ease
    scale = np.exp(0.15 * hard * rng.standard_normal((draft.n, 1)))
    radius = draft.uniform(0.35, 0.6) * scale * np.exp(np.clip(log_radius, -1.2, 0.9))
    centre = draft.uniform(0.02, 0.35) * hard * rng.standard_normal((draft.n, 2))
    turn = float(rng.choice([0.1, 0.5, 3.0])) * hard * rng.standard_normal(draft.n)
    depth = outlines(radius, centre, turn, size)
    if draft.chance(0.65):
        return soft_step(depth, size)
    return np.exp(-((depth / np.float32(max(0.08, 1.5 / size))) ** 2))


def _figures(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Choose among polygons, stars and ellipses, as radii at every angle: shape (n, angles)."""
    theta = angles() + rng.uniform(0, 2 * math.pi)
    found = [np.full(len(theta), 0.8)]
    for corners in (3, 4, 5, 6):
        side = theta % (2 * math.pi / corners) - math.pi / corners
        found.append(math.cos(math.pi / corners) / np.cos(side))
        found.append(0.65 + 0.35 * np.cos(corners * theta))
    found += [1 / np.hypot(np.cos(theta), narrow * np.sin(theta)) for narrow in (1.8, 3.5)]
    return np.array(found)[rng.permutation(len(found))[:n]]


def _shapes(draft: Draft, size: int) -> Floats:
    """Compose scenes: figure, size, place, direction, filling and number name the class."""
    rng = draft.rng
    n_figures = int(rng.integers(2, 9))
    figures = _figures(rng, n_figures)
    levels = {"figure": n_figures, "size": 3, "across": 3, "down": 3, "turn": 4, "hollow": 2}
    levels["number"] = int(rng.integers(2, 4))
    names = list(rng.permutation(list(levels)))
    telling: list[str] = []
    while math.prod(levels[name] for name in telling) < draft.n_classes:
        telling.append(names.pop())
    combinations = list(itertools.product(*(range(levels[name]) for name in telling)))
    chosen = rng.permutation(len(combinations))[: draft.n_classes]
    meaning = np.array(combinations).reshape(len(combinations), -1)[chosen][draft.labels]
    own = {name: rng.integers(levels[name], size=draft.n) for name in levels}
    # What does not tell varies freely in hard tasks, and hardly in easy ones.
    for name in names:
        own[name] = np.where(rng.random(draft.n) < 1.1 - draft.ease, own[name], 0)
    own |= {name: meaning[:, i] for i, name in enumerate(telling)}
    vague = draft.between(2.5, 0.05)
    blur = {
        name: own[name] + vague * rng.standard_normal(draft.n)
        for name in ("size", "across", "down", "turn")
    }
    lost = rng.random(draft.n) < 0.97 * (1 - draft.ease) ** 1.2
    for name in ("figure", "hollow", "number"):
        own[name] = np.where(lost, rng.integers(levels[name], size=draft.n), own[name])
    ink = np.zeros((draft.n, size, size), np.float32)
    for i in range(levels["number"]):
        there = own["number"] >= i
        apart = np.array([0.0, 0.55, -0.55])[i]
        centre = 0.4 * np.stack([blur["across"] - 1, blur["down"] - 1], axis=1)
        centre = centre + apart + 0.1 * vague * rng.standard_normal(centre.shape)
        radius = figures[own["figure"]] * np.clip(0.28 + 0.12 * blur["size"], 0.15, 0.8)[:, None]
        depth = outlines(radius, np.clip(centre, -0.9, 0.9), blur["turn"] * math.pi / 8, size)
        mark = soft_step(depth, size)
        inner = soft_step(depth - np.float32(max(0.1, 2.5 / size)), size)
        mark = mark - inner * own["hollow"][:, None, None].astype(np.float32)
        ink = np.maximum(ink, mark * there[:, None, None].astype(np.float32))
    return ink


def _parts(draft: Draft, size: int) -> Floats:
    """Put parts, of which classes share some, where the class has them."""
    rng = draft.rng
    width = max(3, round(size * draft.uniform(0.2, 0.4)))
    n_parts, n_kinds = int(rng.integers(2, 6)), int(rng.integers(2, 10))
    kinds = np.tanh(smooth_fields(rng, (n_kinds,), 2 * width, 1.5))[:, :width, :width]
    window = np.hanning(width + 2)[1:-1]
    kinds = kinds * np.sqrt(np.outer(window, window))
    apart, within = draft.separation(0.12, 12.0)
    place = rng.uniform(-0.7, 0.7, (1, n_parts, 2)) * (1 - apart)
    place = place + apart * rng.uniform(-0.7, 0.7, (draft.n_classes, n_parts, 2))
    place = place[draft.labels] + within * rng.standard_normal((draft.n, n_parts, 2))
    place += draft.uniform(0, 0.3) * (1.2 - draft.ease) * rng.standard_normal((draft.n, 1, 2))
    part = rng.integers(n_kinds, size=(draft.n_classes, n_parts))[draft.labels]
    lost = rng.random(part.shape) > draft.between(0.2, 1.0)
    part = np.where(lost, rng.integers(n_kinds, size=part.shape), part)
    # A frame wide enough that parts may be cut off by the edge.
    wide = size + 2 * width
    corner = np.round((place + 1) * (size / 2) + width / 2).astype(np.int64)
    corner = np.clip(corner, 0, wide - width)
    steps = np.arange(width)
    rows = corner[..., 1, None, None] + steps[:, None]
    columns = corner[..., 0, None, None] + steps
    index = np.arange(draft.n)[:, None, None, None] * wide * wide + rows * wide + columns
    total = np.bincount(index.ravel(), kinds[part].ravel(), draft.n * wide * wide)
    frame = total.reshape(draft.n, wide, wide)[:, width:-width, width:-width]
    return (0.5 + 0.5 * np.tanh(1.5 * frame)).astype(np.float32)


SHAPE_FAMILIES = {"strokes": strokes, "blobs": _blobs, "shapes": _shapes, "parts": _parts}
