"""One pass over kernels: sums and sums of squares of rows and columns.

The pass goes block by block, so that nothing as large as a large kernel is made, and each number is
worked out by matrix products. A kernel stored the other way round, as dense layers of Keras are, is
passed over as it lies.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from accuracy_from_weights.features.array_ops import (
    DIVERGED,
    ArrayLike,
    as_float32,
    clipped,
    constant,
    namespace_of,
)

BLOCK = {"numpy": 2**18, "torch": 2**24}
"""Weights at a time: what fits a processor's cache, and what keeps a GPU busy."""


class KernelSums(NamedTuple):
    """What one pass over n kernels of one shape gives.

    Attributes
    ----------
    rows, row_squares : array of shape (n, rows)
        Sums of a row's weights and of their squares.
    columns, column_squares : array of shape (n, fan_in)
    largest : array of shape (n,)
        Of the weights' magnitudes, NaN where one is; 0 where the squares say that all are finite.
    """

    rows: ArrayLike
    row_squares: ArrayLike
    columns: ArrayLike
    column_squares: ArrayLike
    largest: ArrayLike


def kernel_sums(kernel: ArrayLike, gain: ArrayLike | None) -> KernelSums:
    """Pass over kernels of one shape once, in blocks.

    Parameters
    ----------
    kernel : array of shape (n, rows, inputs, *spatial)
    gain : array of shape (n, rows), or None
        What multiplies the rows.
    """
    xp = namespace_of(kernel)
    most = BLOCK[xp.__name__]
    if xp is np and gain is None and _is_transposed(kernel):
        turned = kernel_sums(kernel.swapaxes(1, 2), None)
        return KernelSums(*turned[2:4], *turned[:2], turned.largest)
    clip = xp is not np  # on a device, to look whether it is needed would be to wait
    sums = _sums_in_blocks(kernel, gain, most, clip)
    if not clip and not sums.row_squares.max() <= DIVERGED**2:
        sums = _sums_in_blocks(kernel, gain, most, True)
    return sums


def _sums_in_blocks(kernel: ArrayLike, gain: ArrayLike | None, most: int, clip: bool) -> KernelSums:
    xp = namespace_of(kernel)
    n, out = kernel.shape[:2]
    fan_in = math.prod(kernel.shape[2:])
    networks = min(max(most // (out * fan_in), 1), n)
    rows = out if out * fan_in <= most else max(min(out, most // fan_in), 8)
    scratch = np.empty((networks, rows, fan_in), np.float32) if xp is np else None
    parts = []
    for first in range(0, n, networks):
        some = slice(first, first + networks)
        blocks = []
        for row in range(0, out, rows):
            part = slice(row, row + rows)
            own = None if gain is None else gain[some, part]
            blocks.append(_block_sums(as_matrices(kernel[some, part]), own, scratch, clip))
        parts.append(blocks[0] if len(blocks) == 1 else _joined(blocks))
    if len(parts) == 1:
        return parts[0]
    return KernelSums(*(xp.concatenate(list(each)) for each in zip(*parts, strict=True)))


def _joined(blocks: list[KernelSums]) -> KernelSums:
    """Put together blocks of rows of the same networks."""
    xp = namespace_of(blocks[0].rows)
    return KernelSums(
        xp.concatenate([b.rows for b in blocks], 1),
        xp.concatenate([b.row_squares for b in blocks], 1),
        sum(b.columns for b in blocks),
        sum(b.column_squares for b in blocks),
        xp.amax(xp.stack([b.largest for b in blocks]), 0),
    )


def _is_transposed(kernel: np.ndarray) -> bool:
    """Whether it is one matrix that is stored column by column."""
    if kernel.shape[0] != 1 or kernel.ndim != 3 or kernel.dtype != np.float32:
        return False
    return bool(kernel[0].T.flags.c_contiguous and not kernel[0].flags.c_contiguous)


def as_matrices(kernel: ArrayLike) -> ArrayLike:
    """View, or copy, a block as float32 of shape (networks, rows, fan_in)."""
    if isinstance(kernel, np.ndarray):
        kernel = np.ascontiguousarray(kernel, np.float32)
    return as_float32(kernel.reshape(kernel.shape[0], kernel.shape[1], -1))


def _block_sums(
    block: ArrayLike, gain: ArrayLike | None, scratch: np.ndarray | None, clip: bool
) -> KernelSums:
    """Sum up one block; a gain multiplies sums, not weights, unless some have diverged."""
    xp = namespace_of(block)
    n, rows, fan_in = block.shape
    if clip:
        block = block if gain is None else block * gain[..., None]
        gain = None
        largest = xp.amax(xp.abs(block), (1, 2))
        block = clipped(block)
    else:
        largest = np.zeros(n, np.float32)
    squares = xp.multiply(block, block, out=None if scratch is None else scratch[:n, :rows])
    ones = constant(block, _ones, fan_in)
    row_sums, row_squares = block @ ones, squares @ ones
    if gain is None:
        ones = constant(block, _ones, rows)
        return KernelSums(row_sums, row_squares, ones @ block, ones @ squares, largest)
    gain_squares = gain * gain
    return KernelSums(
        row_sums * gain,
        row_squares * gain_squares,
        (gain[:, None] @ block)[:, 0],
        (gain_squares[:, None] @ squares)[:, 0],
        largest,
    )


def _ones(n: int) -> np.ndarray:
    return np.ones(n, np.float32)
