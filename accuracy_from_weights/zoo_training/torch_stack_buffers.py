"""Buffers of a stack of convolutional networks, and the views of them that every step uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# The layer whose patches are laid out once for the whole data set.
FIRST = 0


@dataclass(frozen=True)
class StackLayer:
    """Geometry of a convolution or of the dense layer, and where its weights lie.

    The first of its weights in a network's row is ``start``. One output has ``n_in`` inputs (of a
    convolution, kernel * kernel * channels); ``side`` counts the rows, and columns, of the output,
    ``channels`` are the input's (0 for the dense layer), ``kernel`` and ``stride`` are in pixels.
    """

    start: int
    n_in: int
    n_out: int
    side: int = 1
    channels: int = 0
    kernel: int = 1
    stride: int = 1

    @property
    def stop(self) -> int:
        """Index of the next layer's first weight."""
        return self.start + (self.n_in + 1) * self.n_out

    @property
    def positions(self) -> int:
        """Number of places in one map of its output."""
        return self.side * self.side

    def part_of(self, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return views of the layer's part of ``k`` networks' weights.

        Kernel and bias in one, (k, n_in + 1, n_out), the kernel, and the bias, (k, 1, n_out).
        """
        both = matrix[:, self.start : self.stop].unflatten(1, (self.n_in + 1, self.n_out))
        return both, both[:, :-1], both[:, -1:]


class Buffers:
    """Memory for ``k`` networks and ``b`` images each, reused from step to step."""

    def __init__(
        self, layers: Sequence[StackLayer], k: int, b: int, n_classes: int, device: torch.device
    ) -> None:
        def empty(*shape: int) -> Tensor:
            return torch.empty(shape, device=device)

        self.values = [empty(k, b, x.side, x.side, x.n_out) for x in layers[:-1]]
        self.gradients = [torch.empty_like(v) for v in self.values]
        self.masks = [torch.empty_like(v) for v in self.values]
        self.patches = [empty(0)] + [empty(k, b * x.positions, x.n_in) for x in layers[1:-1]]
        self.first = empty(k, b * layers[0].positions, layers[0].n_in + 1)
        self.pooled = empty(k, b, layers[-1].n_in)
        self.pooled_gradient = torch.empty_like(self.pooled)
        self.logits = empty(k, b, n_classes)
        self.logit_gradient = torch.empty_like(self.logits)
        self.ones = torch.ones(k, 1, b * max(x.positions for x in layers), device=device)


class LayerViews:
    """Views of a layer's weights and gradients, kept since making them takes a tenth of a step.

    ``both``, ``kernel`` and ``bias`` are of the scaled weights, as `StackLayer.part_of` returns
    them; ``..._gradient`` are the same of the gradients.
    """

    def __init__(self, layer: StackLayer, scaled: Tensor, gradients: Tensor) -> None:
        self.both, self.kernel, self.bias = layer.part_of(scaled)
        self.both_gradient, self.kernel_gradient, self.bias_gradient = layer.part_of(gradients)
        self.kernel_t = self.kernel.mT


class ConvolutionViews(LayerViews):
    """Views of a convolution's weights, gradients, values and patches.

    Values, after the activation and dropout, their gradient and dropout's mask have the shape
    (k, b, side, side, n_out); ``flat`` ones are matrices, (k, b * positions, n_out). The patches of
    the layer below are rows of matrices, (k, b * positions, n_in), and copied from its windows.
    """

    def __init__(
        self, i: int, layer: StackLayer, buffers: Buffers, scaled: Tensor, gradients: Tensor
    ) -> None:
        super().__init__(layer, scaled, gradients)
        self.values, self.gradient = buffers.values[i], buffers.gradients[i]
        k, b = self.values.shape[:2]
        self.flat = self.values.view(k, b * layer.positions, layer.n_out)
        self.flat_gradient = self.gradient.view(k, b * layer.positions, layer.n_out)
        self.mask = buffers.masks[i]
        self.flat_mask = self.mask.view(k, -1)
        if i == FIRST:
            return
        self.patches = buffers.patches[i]
        self.patches_t = self.patches.mT
        self.ones = buffers.ones[:, :, : b * layer.positions]
        lower = buffers.values[i - 1]
        _, _, side, _, channels = lower.shape
        line = side * channels
        shape = (k * b, layer.side, layer.side, layer.kernel, layer.kernel * channels)
        steps = (side * line, layer.stride * line, layer.stride * channels, line, 1)
        self.windows = lower.as_strided(shape, steps)
        self.patches_of_windows = self.patches.view(shape)
        self._plan_scatter(layer, buffers.gradients[i - 1])

    def _plan_scatter(self, layer: StackLayer, below: Tensor) -> None:
        """Find the edges that no patch covers, and the copies that sum the patches' gradients."""
        k, b, side, _, channels = below.shape
        line = side * channels
        covered = layer.stride * layer.side
        self.edges = [x for x in (below[:, :, covered:], below[:, :, :, covered:]) if x.numel()]
        # Target, source, and whether the copy is the first one into its target.
        self.runs: list[tuple[Tensor, Tensor, bool]] = []
        # Runs of at most `stride` pixels do not overlap; the first run over a place sets it.
        for row in range(layer.kernel):
            for column in range(0, layer.kernel, layer.stride):
                n = min(layer.stride, layer.kernel - column)
                target = below.as_strided(
                    (k * b, layer.side, layer.side, n * channels),
                    (side * line, layer.stride * line, layer.stride * channels, 1),
                    row * line + column * channels,
                )
                first, last = column * channels, (column + n) * channels
                source = self.patches_of_windows[:, :, :, row, first:last]
                self.runs.append((target, source, row < layer.stride and column == 0))

    def gather_patches(self) -> None:
        """Copy the patches out of the values of the layer below."""
        self.patches_of_windows.copy_(self.windows)

    def scatter_patches(self) -> None:
        """Sum the gradients of the patches in the gradient of the layer below."""
        for edge in self.edges:
            edge.zero_()
        for target, source, is_first in self.runs:
            if is_first:
                target.copy_(source)
            else:
                target.add_(source)


class Plan:
    """All views of a step, for some of the networks and ``b`` images each."""

    def __init__(
        self, layers: Sequence[StackLayer], buffers: Buffers, scaled: Tensor, gradients: Tensor
    ) -> None:
        self.buffers = buffers
        self.convolutions = [
            ConvolutionViews(i, layer, buffers, scaled, gradients)
            for i, layer in enumerate(layers[:-1])
        ]
        self.head = LayerViews(layers[-1], scaled, gradients)
        k, b = buffers.logits.shape[:2]
        last = layers[-2]
        self.last = buffers.values[-1].view(k, b, last.positions, last.n_out)
        self.last_gradient = buffers.gradients[-1].view(self.last.shape)
        self.spread = buffers.pooled_gradient.unsqueeze(2).expand_as(self.last)
        self.ones = buffers.ones[:, :, :b]
        self.rows_of_first = buffers.first.view(k * b, -1)
