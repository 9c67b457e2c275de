"""One large kernel, passed over in blocks that fit a processor's cache.

A block is a few rows (neurons) of the kernel as a matrix of shape (out, fan_in): folded, float32
and contiguous, whatever the kernel is stored as. Nothing as large as the kernel is ever made, and
each number is worked out by matrix products wherever it is a sum of products.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.numbers import DIVERGED, FloatArray
from accuracy_from_weights.weights.layers import Layer

_BLOCK = 2**16
_FEWEST_ROWS = 32
"""Fewer rows at a time make a matrix product slow, and a transposed kernel slow to read."""

_COLUMNS = 8
"""Matrix products with fewer columns take longer than with so many."""


@dataclass(frozen=True, eq=False)
class PowerSums:
    """What one pass over a kernel gives.

    Attributes
    ----------
    lowest, highest : float
    mean : float
    central : ndarray of shape (3,)
        Central moments of order two, three and four.
    row_squares, row_peaks : ndarray of shape (out,)
        Sum of the squares of a neuron's weights, and the largest of their absolute values.
    input_squares : ndarray of shape (inputs,)
        Sum of the squares of the weights of an input.
    """

    lowest: float
    highest: float
    mean: float
    central: FloatArray
    row_squares: FloatArray
    row_peaks: FloatArray
    input_squares: FloatArray


class LargeKernel:
    """The kernel of one network's layer, of shape (out, inputs, *spatial).

    Parameters
    ----------
    layer : Layer
        Of a stack.
    network : int
        Its place in the stack.

    Attributes
    ----------
    sums : PowerSums
        Of the weights, clipped where they have diverged.
    is_finite : bool
    """

    def __init__(self, layer: Layer, network: int) -> None:
        self._stored = layer.stored[network]
        self._gain = None if layer.gain is None else layer.gain[network].astype(np.float32)
        self.out, self.inputs = self._stored.shape[:2]
        self.positions = math.prod(self._stored.shape[2:])
        self.fan_in = self.inputs * self.positions
        self._is_clipped = False
        sums = self._power_sums(0.0)
        self.is_finite = bool(np.isfinite(sums.lowest) and np.isfinite(sums.highest))
        if self.is_finite and max(-sums.lowest, sums.highest) > DIVERGED:
            self._is_clipped = True
            sums = self._power_sums(0.0)
        if self.is_finite and sums.mean**2 > sums.central[0]:
            # Differences of large numbers would be left of the central moments.
            sums = self._power_sums(sums.mean)
        self.sums = sums

    def blocks(self) -> Iterator[tuple[slice, FloatArray]]:
        """Give which rows, and these, of shape (rows, fan_in); valid until the next are asked."""
        size = max(_FEWEST_ROWS, _BLOCK // self.fan_in)
        stored = self._stored
        is_ready = stored.dtype == np.float32 and stored.flags.c_contiguous
        is_copied = not is_ready or self._gain is not None or self._is_clipped
        buffer = np.empty((min(size, self.out), self.fan_in), np.float32) if is_copied else None
        for start in range(0, self.out, size):
            rows = slice(start, min(start + size, self.out))
            if buffer is None:
                yield rows, stored[rows].reshape(-1, self.fan_in)
                continue
            block = buffer[: rows.stop - start]
            self._fill(block, rows)
            yield rows, block

    def take(self, rows: NDArray[np.intp]) -> FloatArray:
        """Copy some rows; of shape (len(rows), inputs, *spatial)."""
        taken = np.empty((len(rows), *self._stored.shape[1:]), np.float32)
        self._fill(taken.reshape(len(rows), -1), rows)
        return taken

    def _fill(self, block: FloatArray, rows: slice | NDArray[np.intp]) -> None:
        source = self._stored[rows]
        shaped = block.reshape(source.shape)
        if self._gain is None:
            shaped[...] = source
        else:
            gain = self._gain[rows].reshape(-1, *(1,) * (source.ndim - 1))
            np.multiply(source, gain, out=shaped, casting="same_kind")
        if self._is_clipped:
            np.clip(block, -DIVERGED, DIVERGED, out=block)

    def _power_sums(self, centre: float) -> PowerSums:
        highest, lowest = (np.empty(self.out, np.float32) for _ in range(2))
        row_squares, columns = np.empty(self.out), np.zeros(self.fan_in)
        ones = np.ones(max(self.fan_in, self.out), np.float32)
        totals = np.zeros(4)
        scratch = np.empty(0, np.float32)
        for rows, block in self.blocks():
            if scratch.size < block.size:
                scratch = np.empty(block.size, np.float32)
            squares = scratch[: block.size].reshape(block.shape)
            highest[rows], lowest[rows] = block.max(axis=1), block.min(axis=1)
            np.multiply(block, block, out=squares)
            own = squares @ ones[: self.fan_in]
            row_squares[rows] = own
            columns += ones[: len(block)] @ squares
            if centre:
                block = block - np.float32(centre)
                np.multiply(block, block, out=squares)
                own = squares @ ones[: self.fan_in]
            values, powers = block.reshape(-1), squares.reshape(-1)
            totals[0] += (block @ ones[: self.fan_in]).sum(dtype=float)
            totals[1] += own.sum(dtype=float)
            totals[2] += powers @ values
            totals[3] += powers @ powers
        first, second, third, fourth = totals / (self.out * self.fan_in)
        central = (
            second - first**2,
            third - 3 * first * second + 2 * first**3,
            fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4,
        )
        return PowerSums(
            float(lowest.min()),
            float(highest.max()),
            centre + first,
            np.maximum(central, (0, -np.inf, 0)),
            row_squares,
            np.maximum(highest, -lowest),
            columns.reshape(self.inputs, -1).sum(axis=1),
        )

    def products(
        self, directions: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Multiply by directions from the right and by weights from the left, in one pass.

        Parameters
        ----------
        directions : ndarray of shape (fan_in, k)
        weights : ndarray of shape (out,)

        Returns
        -------
        ndarray of shape (out, k)
        ndarray of shape (fan_in,)
        """
        along = np.empty((self.out, directions.shape[1]), np.float32)
        weights = weights.astype(np.float32)
        weighted = np.zeros(self.fan_in)
        for rows, block in self.blocks():
            np.matmul(block, directions, out=along[rows])
            weighted += weights[rows] @ block
        return along, weighted

    def carry(
        self, mean: FloatArray, variance: FloatArray, depthwise: bool = False
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Send means and variances of the inputs through the kernel.

        Parameters
        ----------
        mean, variance : ndarray of shape (v, inputs)
            Of shape (v, out) where the kernel is depthwise.
        depthwise : bool
            Whether each output sees the input of its own number.

        Returns
        -------
        mean, apart, together : ndarray of shape (v, out)
            Means; variances if the inputs' positions are independent, and if they are alike.
        """
        means, variances = (_as_columns(values) for values in (mean, variance))
        results = np.empty((3, self.out, means.shape[1]), np.float32)
        ones = np.ones(self.positions, np.float32)
        for rows, block in self.blocks():
            summed, energy = block, block * block
            together = energy
            if self.positions > 1:
                summed = (block.reshape(-1, self.positions) @ ones).reshape(-1, self.inputs)
                energy = (energy.reshape(-1, self.positions) @ ones).reshape(-1, self.inputs)
                together = summed * summed
            for result, matrix, values in zip(
                results, (summed, energy, together), (means, variances, variances), strict=True
            ):
                result[rows] = matrix * values[rows] if depthwise else matrix @ values
        mean, apart, together = results[:, :, : len(mean)].transpose(0, 2, 1).astype(float)
        return mean, apart, together


def _as_columns(rows: FloatArray) -> FloatArray:
    n_columns = max(len(rows), _COLUMNS)
    columns = np.zeros((rows.shape[1], n_columns), np.float32)
    columns[:, : len(rows)] = rows.T
    return columns
