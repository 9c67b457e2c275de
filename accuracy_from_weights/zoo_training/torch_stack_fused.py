"""A stack of plain convolutional networks for GPUs, computed by Triton kernels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from accuracy_from_weights.zoo.recipes.architecture import (
    Architecture,
    InputForm,
    paper_architecture,
)
from accuracy_from_weights.zoo_training.torch_philox import triton_runs
from accuracy_from_weights.zoo_training.torch_stack import ConvStack


class FusedStack(ConvStack):
    """A `ConvStack` whose convolutions read patches straight from the images, without copies.

    The first argument is the module `torch_kernels`; the others are those of `ConvStack`.
    """

    def __init__(self, kernels: ModuleType, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._kernels = kernels
        shape = (kernels.SPLITS, len(self.weights), self.layers[-1].start)
        self._sums = torch.zeros(shape, device=self.device)

    def _scales(self, keep: Tensor) -> Tensor:
        scale = super()._scales(keep)
        scale[:, : self.layers[0].stop] = 1.0
        return scale

    def patch_table(self, images: Tensor) -> Tensor:
        """Return images with their channels last: (n, side, side, channels)."""
        return images.to(self.device).permute(0, 2, 3, 1).contiguous()

    def gather(self, rows: slice, table: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return all images, and the indices of those that each network sees: (k, b)."""
        return table, indices

    def share(self, part: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return a part of a table for ``k`` networks, for `forward`."""
        return part, torch.arange(len(part), device=self.device).expand(k, -1)

    def forward(self, rows: slice, first: Any, dropout: Sequence[Tensor] | None) -> Tensor:
        """Compute logits as `ConvStack.forward`."""
        x, index = first
        k, b = index.shape
        source: Tensor | None = index
        scaled = self._scaled[rows]
        values = []
        for i, layer in enumerate(self.layers[:-1]):
            out = torch.empty((k, b, layer.side, layer.side, layer.n_out), device=self.device)
            kept = None if dropout is None else dropout[i]
            self._kernels.forward(layer, x, source, scaled, kept, out, self._tanh)
            values.append(out)
            x, source = out, None
        pooled = x.flatten(2, 3).sum(2)
        _, kernel, bias = self.layers[-1].part_of(scaled)
        logits = torch.baddbmm(bias, pooled, kernel)
        self._passed = values, dropout, pooled, logits
        return logits

    def backward(
        self, rows: slice, first: Any, targets: Tensor, dropped: bool, weight: float, add: bool
    ) -> None:
        """Compute gradients as `ConvStack.backward`; a mini-batch has one part here."""
        values, dropout, pooled, logits = self._passed
        scaled, gradients, sums = self._scaled[rows], self.gradients[rows], self._sums[:, rows]
        head = self.layers[-1]
        upper = (logits.softmax(-1) - targets).mul_(weight)
        kernel = head.part_of(scaled)[1]
        _, kernel_gradient, bias_gradient = head.part_of(gradients)
        kernel_gradient.copy_(pooled.mT @ upper)
        bias_gradient.copy_(upper.sum(1, keepdim=True))
        below = (upper @ kernel.mT)[:, :, None, None, :]
        top = values[-1]
        if self._tanh:
            gradient = below * (1.0 - top * top)
            if dropout is not None:
                gradient *= dropout[-1].view(top.shape)
        else:
            gradient = torch.where(top <= 0.0, 0.0, below)
        for i in range(len(values) - 1, -1, -1):
            layer = self.layers[i]
            if i == 0:
                images, index = first
                self._kernels.backward_weights(layer, images, index, gradient, sums)
                break
            x = values[i - 1]
            self._kernels.backward_weights(layer, x, None, gradient, sums)
            kept = None if dropout is None else dropout[i - 1]
            lower = torch.empty_like(x)
            self._kernels.backward_values(layer, gradient, scaled, x, kept, lower, self._tanh)
            gradient = lower
        gradients[:, : head.start] = sums.sum(0)


def stack_of(
    architecture: Architecture,
    form: InputForm,
    n_classes: int,
    n_networks: int,
    device: torch.device,
) -> ConvStack:
    """Build the fastest stack that works on a device."""
    arguments = architecture, form, n_classes, n_networks, device
    if triton_runs(device):
        from accuracy_from_weights.zoo_training import torch_kernels

        if _agrees(torch_kernels, device):
            return FusedStack(torch_kernels, *arguments)
    return ConvStack(*arguments)


@functools.cache
def _agrees(kernels: ModuleType, device: torch.device) -> bool:
    """Return whether the kernels and the plain operations agree on a small sample."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((5, 1, 28, 28), generator=generator)
    indices = torch.randint(0, 5, (2, 6), generator=generator).to(device)
    targets = torch.eye(3, device=device)[indices % 3]
    for activation in ("relu", "tanh"):
        arguments = (paper_architecture(activation), InputForm("image", (1, 28, 28)), 3, 2, device)
        plain, fused = ConvStack(*arguments), FusedStack(kernels, *arguments)
        drawn = torch.randn(plain.weights.shape, generator=generator).to(device)
        results = []
        for stack in (plain, fused):
            stack.set_dropout([0, 100])
            torch.mul(drawn, 0.1, out=stack.weights)
            rows = slice(0, 2)
            kept = [
                torch.ones((2, 6 * n), dtype=torch.uint8, device=device)
                for n in stack.dropout_values
            ]
            for mask in kept:
                mask[1, ::3] = 0
            try:
                stack.prepare(training=True)
                first = stack.gather(rows, stack.patch_table(images), indices)
                logits = stack.forward(rows, first, kept).clone()
                stack.backward(rows, first, targets, True, 1.0 / 6, False)
                stack.finish_gradients()
            except Exception:  # noqa: BLE001 - whatever a compiler raises
                return False
            results.append((logits, stack.gradients))
        for a, b in zip(*results, strict=True):
            if not torch.allclose(a, b, rtol=1e-3, atol=1e-4):
                return False
    return True
