"""Weights that PyTorch computes from other tensors: weight norm, spectral norm, pruning masks.

A state dict holds what the optimiser moves; the network feels what is computed from it. Both
generations of names are known: ``weight_g``/``weight_v``, ``weight_orig``/``weight_u``, and
``parametrizations.weight.original...``. Another parametrisation is read as its original.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from accuracy_from_weights.weights.layers import Array, Path

_RENAMED = {
    "original0": "_g",
    "original1": "_v",
    "original": "_orig",
    "0._u": "_u",
    "0._v": "_v",
    "0.mask": "_mask",
}


def effective_weights(tensors: Mapping[Path, Array]) -> dict[Path, Array]:
    """Replace the parts of a computed weight by the weight itself, at the place of the first."""
    named = {_older_name(path): array for path, array in tensors.items()}
    if not any(path[-1].endswith(("_v", "_orig")) for path in named):
        return named
    effective: dict[Path, Array] = {}
    for path, array in named.items():
        base, _, role = path[-1].rpartition("_")
        target = (*path[:-1], base)
        family = {
            r: named[(*path[:-1], f"{base}_{r}")]
            for r in ("g", "v", "orig", "u", "mask")
            if (*path[:-1], f"{base}_{r}") in named
        }
        if role not in family or not ({"g", "v"} <= {*family} or "orig" in family):
            effective[path] = array
        elif target not in effective:
            effective[target] = _computed(family)
    return effective


def _older_name(path: Path) -> Path:
    """``conv.parametrizations.weight.original0`` -> ``conv.weight_g``."""
    if "parametrizations" not in path[:-2]:
        return path
    i = path.index("parametrizations")
    suffix = _RENAMED.get(".".join(path[i + 2 :]))
    return path if suffix is None else (*path[:i], path[i + 1] + suffix)


def _computed(family: Mapping[str, Array]) -> Array:
    with np.errstate(all="ignore"):
        if "orig" not in family:
            return _weight_normed(family["g"], family["v"])
        weight = family["orig"]
        mask = family.get("mask")
        if mask is not None and mask.shape == weight.shape:
            weight = weight * mask
        u, v = family.get("u"), family.get("v")
        if u is None or v is None:
            return weight
        for axis in (0, 1):  # the axis of outputs: 1 for transposed convolutions
            matrix = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
            if matrix.shape == (u.size, v.size):
                return (weight / (u @ matrix @ v)).astype(weight.dtype)
    return weight


def _weight_normed(g: Array, v: Array) -> Array:
    if g.ndim != v.ndim:
        return v
    axes = tuple(axis for axis, size in enumerate(g.shape) if size == 1)
    return (v * (g / np.sqrt(np.square(v).sum(axis=axes, keepdims=True)))).astype(v.dtype)
