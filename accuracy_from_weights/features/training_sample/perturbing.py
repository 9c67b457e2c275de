"""Training examples changed in ways that leave their class as it is, or mix it with another.

What fits the input at hand is done: shifts and blur where there are places, noise and mixing of
numbers, swapped and dropped tokens. Networks that have learnt a rule keep their answers under such
changes better than networks that have learnt their examples by heart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from accuracy_from_weights.features.draws import Draws
from accuracy_from_weights.features.input_spec import InputSpec

PERTURBATIONS = (
    "shift",
    "far_shift",
    "noise",
    "strong_noise",
    "blur",
    "cover",
    "contrast",
    "mix",
    "uneven_mix",
    "mix_within",
    "halves_within",
)
"""Names of the changes, in the order in which networks are asked about them."""

_SEED = 19981105
_SHIFTS = {"shift": 1 / 16, "far_shift": 1 / 8}
# Standard deviations of noise in those of the data, and shares of the tokens that are replaced.
_NOISE = {"noise": 0.2, "strong_noise": 0.6}
_REPLACED = {"noise": 0.08, "strong_noise": 0.3}
_COVERED = 3 / 8
_CONTRAST = 0.6
# Share of an example that remains when another is mixed in.
_SHARES = {"mix": 0.5, "uneven_mix": 0.7, "mix_within": 0.5}

_Numbers = NDArray[np.float32]
_Order = NDArray[np.intp]


def partners(classes: NDArray[np.int64]) -> tuple[_Order, _Order]:
    """Choose two others for each example to be mixed with.

    Parameters
    ----------
    classes : ndarray of shape (n,)

    Returns
    -------
    other, alike : ndarray of shape (n,)
        Places of examples of another class, and of the same one, wherever there are any.
    """
    n = len(classes)
    draws = Draws(_SEED)
    shuffled = draws.order(n)
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    chosen = draws.uniform(0.0, 1.0, n)
    other, alike = np.empty(n, np.intp), np.empty(n, np.intp)
    start = 0
    for size in np.unique(classes, return_counts=True)[1].tolist():
        members = by_class[start : start + size]
        alike[members] = np.roll(members, 1)
        if size == n:
            return alike, alike
        # Any place among those of the other classes, which lie before and behind.
        places = (chosen[members] * (n - size)).astype(np.intp)
        other[members] = by_class[np.where(places < start, places, places + size)]
        start += size
    return other, alike


def perturb(
    x: NDArray[np.generic], spec: InputSpec, other: _Order, alike: _Order
) -> dict[str, NDArray[np.generic]]:
    """Change examples in all the ways that fit their kind.

    Parameters
    ----------
    x : ndarray of shape (n, *spec.shape)
    spec : InputSpec
    other, alike : ndarray of shape (n,)
        See `partners`.

    Returns
    -------
    dict of str to ndarray of the shape of `x`
        By name, in the order of `PERTURBATIONS`; those that do not fit the kind are missing:
        shifts and blur of a table, contrast of tokens.
    """
    if spec.kind == "tokens":
        changed = _perturb_tokens(np.asarray(x), other, alike)
    else:
        changed = {
            name: spec.from_images(images)
            for name, images in _perturb_numbers(spec, spec.as_images(x), other, alike).items()
        }
    return {name: changed[name] for name in PERTURBATIONS if name in changed}


def _perturb_numbers(
    spec: InputSpec, x: _Numbers, other: _Order, alike: _Order
) -> dict[str, _Numbers]:
    """Change images of shape (n, channels, height, width), of height 1 for signals and rows."""
    draws = Draws(_SEED + 1)
    n, _, height, width = x.shape
    is_table = spec.kind == "table"
    # Columns of a table each have a scale of their own, pixels of a picture share one.
    axes = (0,) if is_table else (0, 2, 3)
    mean, spread = x.mean(axes, keepdims=True), x.std(axes, keepdims=True)
    changed: dict[str, _Numbers] = {}
    noise = (spread * draws.normal(*x.shape)).astype(np.float32)
    for name, size in _NOISE.items():
        changed[name] = x + np.float32(size) * noise
    places = draws.order(width)[: max(round(_COVERED * width), 1)] if is_table else None
    changed["cover"] = np.where(_covered(draws, x.shape, places), mean, x)
    level = mean if is_table else x.mean((1, 2, 3), keepdims=True)
    changed["contrast"] = level + np.float32(_CONTRAST) * (x - level)
    for name, share in _SHARES.items():
        kept = np.float32(share)
        changed[name] = kept * x + (1 - kept) * x[alike if name == "mix_within" else other]
    changed["halves_within"] = np.where(np.arange(width) < width / 2, x, x[alike])
    if is_table:
        return changed
    along = draws.integers(0, 4 if height > 1 else 2, n)
    for name, part in _SHIFTS.items():
        far = 1 if name == "shift" else 2
        across = max(round(part * width), min(far, width - 1))
        down = max(round(part * height), min(far, height - 1))
        changed[name] = _shifted(
            x,
            np.choose(along, [0, 0, down, -down]),
            np.choose(along, [across, -across, 0, 0]),
        )
    reach = [2 * max(round(length / 32), 1) + 1 if length > 2 else 1 for length in (height, width)]
    changed["blur"] = ndimage.uniform_filter(x, (1, 1, *reach), mode="nearest")
    return changed


def _shifted(x: _Numbers, down: _Order, across: _Order) -> _Numbers:
    """Move images by whole pixels; what comes in repeats the edge."""
    height, width = x.shape[2:]
    rows = np.clip(np.arange(height) - down[:, None], 0, height - 1)
    columns = np.clip(np.arange(width) - across[:, None], 0, width - 1)
    moved = np.take_along_axis(x, rows[:, None, :, None], axis=2)
    return np.take_along_axis(moved, columns[:, None, None, :], axis=3)


def _covered(
    draws: Draws, shape: tuple[int, ...], places: NDArray[np.intp] | None
) -> NDArray[np.bool_]:
    """Mark a rectangle of each image, or the same columns of every row of a table."""
    n, _, height, width = shape
    if places is not None:
        marked: NDArray[np.bool_] = np.isin(np.arange(width), places)[None, None, None]
        return marked
    marks = []
    for length in (height, width):
        size = max(round(_COVERED * length), 1)
        start = draws.integers(0, length - size + 1, n)[:, None]
        place = np.arange(length)
        marks.append((place >= start) & (place < start + size))
    return (marks[0][:, :, None] & marks[1][:, None, :])[:, None]


def _perturb_tokens(
    x: NDArray[np.generic], other: _Order, alike: _Order
) -> dict[str, NDArray[np.generic]]:
    """Change token sequences of shape (n, length)."""
    draws = Draws(_SEED + 2)
    n, length = x.shape
    changed: dict[str, NDArray[np.generic]] = {}
    # Replacements come from the sample, so that rare tokens stay rare.
    strangers = x.ravel()[draws.order(n * length)].reshape(n, length)
    chance = draws.uniform(0.0, 1.0, n, length)
    for name, share in _REPLACED.items():
        changed[name] = np.where(chance < share, strangers, x)
    tokens, counts = np.unique(x, return_counts=True)
    size = max(round(_COVERED * length), 1)
    start = draws.integers(0, length - size + 1, n)[:, None]
    place = np.arange(length)
    inside = (place >= start) & (place < start + size)
    changed["cover"] = np.where(inside, tokens[counts.argmax()], x)
    for name, by in (("shift", 1), ("far_shift", max(2, length // 8))):
        changed[name] = x[:, np.clip(place - by, 0, length - 1)]
    # Neighbours change places: what blurring is to pixels.
    swapped = np.minimum(place ^ 1, length - 1)
    changed["blur"] = x[:, swapped]
    for name, share in _SHARES.items():
        if name != "mix_within":
            changed[name] = np.where(place < share * length, x, x[other])
    changed["mix_within"] = np.where(draws.uniform(0.0, 1.0, n, length) < 0.5, x, x[alike])
    changed["halves_within"] = np.where(place < length / 2, x, x[alike])
    return changed
