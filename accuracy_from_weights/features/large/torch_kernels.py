"""One large kernel on a device of PyTorch: its numbers are worked out there, and only they travel.

What is copied from the device is seven numbers a neuron, two an input, a sample of the weights, a
table of all pairs of the chosen neurons, and what `carry` gives out: 18 numbers a neuron.
Matrix products are as exact as the user's settings allow, TF32 included; autocast is off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from accuracy_from_weights.features.large.kernel_statistics import (
    LargeKernel,
    PowerSums,
    central_moments,
)
from accuracy_from_weights.features.numbers import DIVERGED, FloatArray
from accuracy_from_weights.weights.device_arrays import to_host

_BLOCK = 2**22
"""Weights at a time: enough to keep a GPU busy, and little of its memory."""

_BLOCKS = 8
"""Fewest parts, so that a few copies of one take less memory than the kernel."""


class TorchKernel(LargeKernel):
    """The kernel of one network's layer, on any device; otherwise as `LargeKernel`.

    Parameters
    ----------
    stored : Tensor of shape (out, inputs, *spatial)
        Of any real type and any order in memory.
    gain : ndarray of shape (out,) or None
    """

    def __init__(self, stored: Tensor, gain: FloatArray | None) -> None:
        self._stored = stored
        with self._plain_arithmetic():
            self._gain = None if gain is None else self._sent(gain)
            super().__init__(tuple(stored.shape))

    @contextmanager
    def _plain_arithmetic(self) -> Iterator[None]:
        """Whatever the training loop is in the middle of: no graph, no lower precision."""
        device = self._stored.device.type
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            if device in ("cpu", "cuda", "xpu"):
                stack.enter_context(torch.autocast(device, enabled=False))
            yield

    def _sent(self, values: FloatArray) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._stored.device)

    def _folded(self, rows: Tensor, gain: Tensor | None) -> Tensor:
        """Return rows as float32, gain included; of shape (rows, fan_in)."""
        block = rows.reshape(-1, self.fan_in).to(torch.float32)
        if gain is not None:
            block = block * gain.unsqueeze(1)
        return block.clamp(-DIVERGED, DIVERGED) if self._is_clipped else block

    def _chosen(self, places: Tensor) -> Tensor:
        """Copy some rows as float32, gain included; of shape (len(places), fan_in)."""
        gain = None if self._gain is None else self._gain.index_select(0, places)
        return self._folded(self._stored.index_select(0, places), gain)

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Return the first row of each part, and the part."""
        n = max(min(_BLOCK, self.out * self.fan_in // _BLOCKS) // self.fan_in, 1)
        gains = [None] * self.out if self._gain is None else self._gain.split(n)
        for k, (rows, gain) in enumerate(zip(self._stored.split(n), gains, strict=False)):
            yield k * n, self._folded(rows, gain)

    def _power_sums(self, centre: float) -> PowerSums:
        by_row: list[Tensor] = []
        columns: Tensor | float = 0.0
        for _, block in self._blocks():
            squares = block.square()
            row_squares = squares.sum(1)
            columns = columns + squares.sum(0)
            ends = block.amin(1), block.amax(1)
            if centre:
                block = block - centre
                squares = block.square()
            powers = block, squares, squares * block, squares.square()
            by_row.append(torch.stack([*ends, row_squares, *(power.sum(1) for power in powers)]))
        assert isinstance(columns, Tensor)  # there is at least one block
        lowest, highest, squared, *sums = to_host(torch.cat(by_row, dim=1))
        means = np.sum(sums, axis=1, dtype=float) / (self.out * self.fan_in)
        return PowerSums(
            float(lowest.min()),
            float(highest.max()),
            centre + means[0],
            central_moments(means),
            squared.astype(float),
            np.maximum(highest, -lowest),
            to_host(columns.reshape(self.inputs, -1).sum(1)).astype(float),
        )

    def choose(self, neurons: NDArray[np.intp]) -> TorchNeurons:
        """Look at some rows more closely."""
        return TorchNeurons(self, neurons)

    def carry(
        self, mean: FloatArray, variance: FloatArray, depthwise: bool = False
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Send means and variances of the inputs through the kernel."""
        with self._plain_arithmetic():
            means, variances = self._sent(mean.T), self._sent(variance.T)
            parts: list[Tensor] = []
            for first, block in self._blocks():
                shaped = block.reshape(-1, self.inputs, self.positions)
                summed, energy = shaped.sum(2), shaped.square().sum(2)
                sent = (summed, means), (energy, variances), (summed.square(), variances)
                parts.append(
                    torch.stack(
                        [a * b.narrow(0, first, len(a)) if depthwise else a @ b for a, b in sent]
                    )
                )
            results = to_host(torch.cat(parts, dim=1)).astype(float)
        carried, apart, together = results.transpose(0, 2, 1)
        return carried, apart, together


class TorchNeurons:
    """Some neurons of a `TorchKernel`; otherwise as `Neurons`."""

    def __init__(self, kernel: TorchKernel, neurons: NDArray[np.intp]) -> None:
        self._kernel = kernel
        with kernel._plain_arithmetic():
            self._rows = kernel._chosen(torch.tensor(neurons, device=kernel._stored.device))

    def peaks(self) -> FloatArray:
        """Largest absolute weight that each input has to these neurons."""
        peaks = self._rows.abs().amax(0).reshape(self._kernel.inputs, -1).amax(1)
        return to_host(peaks)

    def gram(self) -> FloatArray:
        """Products of all pairs."""
        with self._kernel._plain_arithmetic():
            return to_host(self._rows @ self._rows.T).astype(float)

    def weights(self, inputs: NDArray[np.intp]) -> FloatArray:
        """Weights from some inputs."""
        shape = (len(self._rows), *self._kernel._stored.shape[1:])
        places = torch.tensor(inputs, device=self._rows.device)
        return to_host(self._rows.reshape(shape).index_select(1, places))

    def products(
        self, combinations: FloatArray, row_weights: FloatArray
    ) -> tuple[FloatArray, float]:
        """Multiply the whole kernel by combinations of these neurons, and by weights."""
        kernel = self._kernel
        with kernel._plain_arithmetic():
            directions = self._rows.T @ kernel._sent(combinations)
            weights = kernel._sent(row_weights)
            squares: Tensor | float = 0.0
            total: Tensor | float = 0.0
            for first, block in kernel._blocks():
                along = block @ directions
                squares = squares + along.T @ along
                total = total + weights.narrow(0, first, len(block)) @ block
            assert isinstance(squares, Tensor)  # there is at least one block
            assert isinstance(total, Tensor)
            return to_host(squares).astype(float), float(to_host(total.square().sum().sqrt()))
