"""One large kernel in numpy, passed over in blocks that fit a processor's cache.

A block is a part of the kernel as a matrix of shape (out, fan_in), in float32: a few rows
(neurons) where the kernel is stored in that order, as PyTorch does; a few inputs at one position
where it is stored the other way round, as Keras does and as embeddings are; copied only where it
is neither. Nothing as large as the kernel is ever made, and each number is worked out by matrix
products wherever it is a sum of products. A batch normalisation's gain multiplies a row's sums,
not its weights, unless the powers would leave single precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.large.kernel_statistics import (
    LargeKernel,
    PowerSums,
    central_moments,
)
from accuracy_from_weights.features.numbers import DIVERGED, FloatArray

_BLOCK = 2**17
_FEWEST_ROWS = 32
"""Fewer rows at a time make a matrix product slow, and a transposed kernel slow to read."""

_ORDINARY_GAINS = (1e-3, 1e3)
"""Of others, the weights before the gain may be so small or large that their powers vanish."""

_COLUMNS = 4
"""At a time: a product of a block and of more columns leaves a matrix library's fast way for small
ones (in OpenBLAS, up to a million multiplications)."""


class BlockedKernel(LargeKernel):
    """The kernel of one network's layer, in the memory of the CPU; otherwise as `LargeKernel`.

    Parameters
    ----------
    stored : ndarray of shape (out, inputs, *spatial)
        In any order.
    gain : ndarray of shape (out,) or None
    """

    def __init__(self, stored: FloatArray, gain: FloatArray | None) -> None:
        self._stored = stored
        self._gain = None if gain is None else gain.astype(np.float32, copy=False)
        self._is_folded = self._gain is not None and not _are_ordinary(self._gain)
        super().__init__(stored.shape)

    def blocks(self) -> Iterator[tuple[slice, slice, FloatArray]]:
        """Return parts of the matrix of shape (out, fan_in), each of its entries in one of them.

        Yields
        ------
        rows, columns : slice
            Which part.
        block : ndarray of shape (rows, columns)
            To be multiplied by `row_gain`; valid until the next is asked for.
        """
        if self._is_transposed:
            for inputs in self._input_slices():
                for position, block in enumerate(self._of_inputs(inputs)):
                    first, last = (i * self.positions + position for i in _ends(inputs))
                    yield slice(0, self.out), slice(first, last, self.positions), block
        else:
            for rows, block in self._row_blocks():
                yield rows, slice(0, self.fan_in), block

    def _row_blocks(self) -> Iterator[tuple[slice, FloatArray]]:
        size = max(_FEWEST_ROWS, _BLOCK // self.fan_in)
        stored = self._stored
        is_ready = stored.dtype == np.float32 and stored.flags.c_contiguous
        is_copied = not is_ready or self._is_folded
        buffer = np.empty((min(size, self.out), self.fan_in), np.float32) if is_copied else None
        for start in range(0, self.out, size):
            rows = slice(start, min(start + size, self.out))
            if buffer is None:
                yield rows, stored[rows].reshape(-1, self.fan_in)
                continue
            block = buffer[: rows.stop - start]
            self._fill(block, rows, self._is_folded)
            yield rows, block

    @property
    def _is_transposed(self) -> bool:
        stored = self._stored
        is_read_as_stored = stored.dtype == np.float32 and not self._is_folded
        return is_read_as_stored and _reversed(stored).flags.c_contiguous and self.inputs > 1

    def _input_slices(self) -> Iterator[slice]:
        size = max(_FEWEST_ROWS, _BLOCK // self.out)
        for start in range(0, self.inputs, size):
            yield slice(start, min(start + size, self.inputs))

    def _of_inputs(self, inputs: slice) -> FloatArray:
        """View some inputs of a transposed kernel, of shape (positions, out, inputs)."""
        last_out = _reversed(self._stored).reshape(self.positions, self.inputs, self.out)
        return last_out[:, inputs].transpose(0, 2, 1)

    @property
    def row_gain(self) -> FloatArray | None:
        """Gain of shape (out,) that the blocks lack; None where they lack none."""
        return None if self._is_folded else self._gain

    def take(self, rows: NDArray[np.intp]) -> FloatArray:
        """Copy some rows, gain included; of shape (len(rows), inputs, *spatial)."""
        taken = np.empty((len(rows), *self._stored.shape[1:]), np.float32)
        self._fill(taken.reshape(len(rows), -1), rows, True)
        return taken

    def _fill(self, block: FloatArray, rows: slice | NDArray[np.intp], is_folded: bool) -> None:
        source = self._stored[rows]
        shaped = block.reshape(source.shape)
        if self._gain is None or not is_folded:
            shaped[...] = source
        else:
            gain = self._gain[rows].reshape(-1, *(1,) * (source.ndim - 1))
            np.multiply(source, gain, out=shaped, casting="same_kind")
        if self._is_clipped:
            np.clip(block, -DIVERGED, DIVERGED, out=block)

    def _power_sums(self, centre: float) -> PowerSums:
        self._is_folded |= self._is_clipped or bool(centre)
        highest, lowest = (np.full(self.out, x, np.float32) for x in (-np.inf, np.inf))
        row_squares, columns = np.zeros(self.out), np.zeros(self.fan_in)
        row_powers = np.zeros((4, self.out))
        gain = self.row_gain
        gain_squares = np.ones(self.out, np.float32) if gain is None else gain**2
        scratch = np.empty((2, 0), np.float32)
        ones = np.ones(0, np.float32)
        for rows, part, block in self.blocks():
            if scratch.shape[1] < block.size:
                scratch = np.empty((2, block.size), np.float32)
            if len(ones) != block.shape[1]:
                ones = np.ones(block.shape[1], np.float32)
            squares, other = (_shaped_like(block, memory) for memory in scratch)
            np.maximum(highest[rows], block.max(axis=1), out=highest[rows])
            np.minimum(lowest[rows], block.min(axis=1), out=lowest[rows])
            np.multiply(block, block, out=squares)
            second = squares @ ones
            row_squares[rows] += second
            columns[part] += gain_squares[rows] @ squares
            if centre:
                block = block - np.float32(centre)
                np.multiply(block, block, out=squares)
                second = squares @ ones
            powers = row_powers[:, rows]
            powers[0] += block @ ones
            powers[1] += second
            for k, factor in ((2, block), (3, squares)):
                powers[k] += _row_products(squares, factor, ones, other)
        if gain is not None:
            row_powers *= gain.astype(float) ** np.arange(1, 5)[:, None]
            row_squares *= gain_squares
            ends = np.stack([highest * gain, lowest * gain])
            highest, lowest = ends.max(axis=0), ends.min(axis=0)
        means = row_powers.sum(axis=1) / (self.out * self.fan_in)
        return PowerSums(
            float(lowest.min()),
            float(highest.max()),
            centre + means[0],
            central_moments(means),
            row_squares,
            np.maximum(highest, -lowest),
            columns.reshape(self.inputs, -1).sum(axis=1),
        )

    def choose(self, neurons: NDArray[np.intp]) -> BlockedNeurons:
        """Look at some rows more closely."""
        return BlockedNeurons(self, neurons)

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
        along = np.zeros((self.out, directions.shape[1]), np.float32)
        gain = self.row_gain
        weights = (weights if gain is None else weights * gain).astype(np.float32)
        weighted = np.zeros(self.fan_in)
        groups = [
            (slice(k, k + _COLUMNS), np.ascontiguousarray(directions[:, k : k + _COLUMNS]))
            for k in range(0, directions.shape[1], _COLUMNS)
        ]
        for rows, part, block in self.blocks():
            weighted[part] += weights[rows] @ block  # first: it brings the block into the cache
            for columns, some in groups:
                along[rows, columns] += block @ some[part]
        return (along if gain is None else along * gain[:, None]), weighted

    def carry(
        self, mean: FloatArray, variance: FloatArray, depthwise: bool = False
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Send means and variances of the inputs through the kernel."""
        first_of, like = _distinct(np.concatenate([mean, variance], axis=1))
        means, variances = (
            values[first_of].T.astype(np.float32, order="C") for values in (mean, variance)
        )
        results = np.zeros((3, self.out, len(first_of)), np.float32)
        if depthwise or self._is_transposed:
            send = np.multiply if depthwise else np.matmul
            for rows, part, summed, energy in self._over_positions():
                seen = rows if depthwise else part
                results[0, rows] += send(summed, means[seen])
                results[1, rows] += send(energy, variances[seen])
                if self.positions > 1:
                    results[2, rows] += send(summed * summed, variances[seen])
        else:
            # Each position has its input's variance: cheaper than to sum squares over positions.
            everywhere = np.repeat(variances, self.positions, axis=0)
            scratch = np.empty(0, np.float32)
            for rows, block in self._row_blocks():
                if scratch.size < block.size:
                    scratch = np.empty(block.size, np.float32)
                squares = _shaped_like(block, scratch)
                np.multiply(block, block, out=squares)
                results[1, rows] = squares @ everywhere
                summed = self._summed(block)
                results[0, rows] = summed @ means
                if self.positions > 1:
                    results[2, rows] = (summed * summed) @ variances
        if self.positions == 1:
            results[2] = results[1]
        if self.row_gain is not None:
            results[0] *= self.row_gain[:, None]
            results[1:] *= self.row_gain[:, None] ** 2
        carried, apart, together = results.transpose(0, 2, 1).astype(float)[:, like]
        return carried, apart, together

    def _over_positions(self) -> Iterator[tuple[slice, slice, FloatArray, FloatArray]]:
        """Return parts of the (out, inputs) matrices of sums over positions, and of squares."""
        if self._is_transposed:
            for inputs in self._input_slices():
                parts = self._of_inputs(inputs)
                summed, energy = parts[0], parts[0] * parts[0]
                for part in parts[1:]:
                    summed = summed + part
                    energy += part * part
                yield slice(0, self.out), inputs, summed, energy
            return
        for rows, block in self._row_blocks():
            yield rows, slice(0, self.inputs), self._summed(block), self._summed(block * block)

    def _summed(self, block: FloatArray) -> FloatArray:
        """Sum whole rows over positions; of shape (rows, inputs)."""
        if self.positions == 1:
            return block
        # Several inputs at a time: a row of few numbers is the slowest a matrix can have.
        n = math.gcd(self.inputs, _COLUMNS)
        ones = np.repeat(np.eye(n, dtype=np.float32), self.positions, axis=0)
        return (block.reshape(-1, n * self.positions) @ ones).reshape(-1, self.inputs)


class BlockedNeurons:
    """Some neurons of a `BlockedKernel`; otherwise as `Neurons`."""

    def __init__(self, kernel: BlockedKernel, neurons: NDArray[np.intp]) -> None:
        self._kernel = kernel
        self._taken = kernel.take(neurons)
        self._rows = self._taken.reshape(len(neurons), -1)

    def peaks(self) -> FloatArray:
        """Largest absolute weight that each input has to these neurons."""
        peaks: FloatArray = np.abs(self._rows).max(axis=0)
        return peaks.reshape(self._kernel.inputs, -1).max(axis=1)

    def gram(self) -> FloatArray:
        """Products of all pairs."""
        return (self._rows @ self._rows.T).astype(float)

    def weights(self, inputs: NDArray[np.intp]) -> FloatArray:
        """Weights from some inputs."""
        return self._taken[:, inputs]

    def products(
        self, combinations: FloatArray, row_weights: FloatArray
    ) -> tuple[FloatArray, float]:
        """Multiply the whole kernel by combinations of these neurons, and by weights."""
        directions = np.ascontiguousarray(self._rows.T @ combinations.astype(np.float32))
        along, total = self._kernel.products(directions, row_weights)
        return along.T.astype(float) @ along, float(np.sqrt((total**2).sum()))


def _ends(part: slice) -> tuple[int, int]:
    return part.start, part.stop


def _reversed(kernel: FloatArray) -> FloatArray:
    """With axes (*spatial, inputs, out): as Keras stores kernels."""
    return kernel.transpose(*range(2, kernel.ndim), 1, 0)


def _shaped_like(block: FloatArray, scratch: FloatArray) -> FloatArray:
    """Part of the scratch memory in the block's shape and order."""
    if block.flags.c_contiguous:
        return scratch[: block.size].reshape(block.shape)
    return scratch[: block.size].reshape(block.shape[::-1]).T


def _distinct(rows: FloatArray) -> tuple[list[int], list[int]]:
    """Return which rows are the first of their kind, and for each row which of those it is like.

    What does not depend on how positions of an image overlap is the same for every overlap.
    """
    first_of: list[int] = []
    like: list[int] = []
    for k, row in enumerate(rows):
        known = (i for i, j in enumerate(first_of) if np.array_equal(row, rows[j]))
        like.append(next(known, len(first_of)))
        if like[-1] == len(first_of):
            first_of.append(k)
    return first_of, like


def _row_products(
    one: FloatArray, other: FloatArray, ones: FloatArray, scratch: FloatArray
) -> FloatArray:
    """Return the product of each row of one matrix with the same row of another."""
    if one.flags.c_contiguous:
        products: FloatArray = np.matmul(one[:, None, :], other[:, :, None])[:, 0, 0]
        return products
    np.multiply(one, other, out=scratch)
    return scratch @ ones


def _are_ordinary(gain: FloatArray) -> bool:
    smallest, largest = _ORDINARY_GAINS
    size = np.abs(gain)
    return bool(np.all((size == 0) | ((size >= smallest) & (size <= largest))))
