"""Pack a table's columns into plain arrays that compress well, and unpack them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.generic]

# Marks behind the names of arrays that stand for a column in another form.
_PLACES = "#places"
_PLANES = "#planes"
_BLOCK = 16

KEPT_BITS = 7
"""Bits of the mantissa that rounding leaves: as in bfloat16."""


def pack(name: str, column: Column, rounded: bool = False) -> dict[str, Column]:
    """Return the arrays that store a column, by name.

    Strings, which repeat, become a short list and places in it. Single precision matrices are cut
    into planes of first, second, third and fourth bytes, feature by feature: the bytes of a plane
    are alike, and deflate saves a sixth more. ``rounded`` rounds them to `KEPT_BITS` bits, a
    relative error of at most 1/256; stored, they take a third of the room.
    """
    if column.dtype.kind == "U":
        values, places = np.unique(column, return_inverse=True)
        small = np.min_scalar_type(max(len(values) - 1, 0))
        return {name: values, name + _PLACES: places.astype(small)}
    if column.dtype == np.float32 and column.ndim == 2:
        return {name + _PLANES: _to_planes(column, rounded)}
    return {name: column}


def unpack(arrays: dict[str, Column]) -> dict[str, Column]:
    """Return the columns that stored arrays hold."""
    columns: dict[str, Column] = {}
    for name, values in arrays.items():
        if name.endswith(_PLANES):
            columns[name.removesuffix(_PLANES)] = _from_planes(values)
        elif not name.endswith(_PLACES):
            places = arrays.get(name + _PLACES)
            columns[name] = values if places is None else values[places]
    return columns


def _to_planes(matrix: Column, rounded: bool) -> NDArray[np.uint8]:
    n, d = matrix.shape
    planes = np.empty((4, d, n), np.uint8)
    for start in range(0, d, _BLOCK):
        # The order of bytes must not depend on the machine.
        block = np.ascontiguousarray(matrix[:, start : start + _BLOCK].T, dtype="<f4")
        if rounded:
            block = _round(block)
        planes[:, start : start + _BLOCK] = (
            block.view(np.uint8).reshape(-1, n, 4).transpose(2, 0, 1)
        )
    return planes


def _from_planes(planes: Column) -> NDArray[np.float32]:
    _, d, n = planes.shape
    matrix = np.empty((n, d), np.float32)
    for start in range(0, d, _BLOCK):
        block = np.ascontiguousarray(planes[:, start : start + _BLOCK].transpose(1, 2, 0))
        matrix[:, start : start + _BLOCK] = block.view("<f4")[..., 0].T
    return matrix


def _round(values: NDArray[Any]) -> NDArray[Any]:
    """Round to nearest; NaN and infinities stay what they are."""
    dropped = 23 - KEPT_BITS
    bits = values.view("<u4")
    nearest = (bits + np.uint32(1 << (dropped - 1))) & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)
    return np.where(np.isfinite(values) & np.isfinite(nearest.view("<f4")), nearest, bits).view(
        "<f4"
    )
