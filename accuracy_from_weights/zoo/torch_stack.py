"""Plain convolutional networks, many at once, with gradients written by hand.

A network of a zoo is so small that a framework spends most of its time between the operations.
Three things make it fast here, and all of them are plain tensor operations that run on any device:

* convolutions are products of matrices. The first layer's patches depend on the images alone, so
  they are laid out once for the whole data set, with a 1 beside each for the bias;
* values lie by image, row, column, channel, so that a row of a patch is one piece of memory;
* the backward pass is written out: it needs no graph and reuses the buffers of the forward pass.

Scales (dropout's, the mean's) are multiplied into the kernels, which are small, instead of the
values, which are many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from accuracy_from_weights.zoo.architecture import Architecture

_FIRST = 0


def can_stack(architecture: Architecture) -> bool:
    """Whether an architecture is one that `ConvStack` trains."""
    return (
        architecture.kind == "cnn"
        and architecture.normalisation == "none"
        and architecture.pooling == "none"
        and architecture.padding == "valid"
        and architecture.head == "average"
        and architecture.activation in ("relu", "tanh")
        and max(architecture.strides) <= architecture.kernel_size
    )


@dataclass(frozen=True)
class _Layer:
    """Geometry of one convolution, or of the dense layer, and where its weights lie."""

    start: int
    n_in: int
    n_out: int
    side: int = 1
    channels: int = 0
    kernel: int = 1
    stride: int = 1

    @property
    def stop(self) -> int:
        return self.start + (self.n_in + 1) * self.n_out

    @property
    def positions(self) -> int:
        return self.side * self.side


class _Workspace:
    """Buffers for ``k`` networks and ``b`` images each, reused from step to step."""

    def __init__(self, layers: Sequence[_Layer], k: int, b: int, n: int, device: torch.device):
        def empty(*shape: int) -> Tensor:
            return torch.empty(shape, device=device)

        self.values = [empty(k, b, x.side, x.side, x.n_out) for x in layers[:-1]]
        self.gradients = [torch.empty_like(v) for v in self.values]
        self.masks = [torch.empty_like(v) for v in self.values]
        self.patches = [empty(0)] + [empty(k, b * x.positions, x.n_in) for x in layers[1:-1]]
        self.first = empty(k, b * layers[0].positions, layers[0].n_in + 1)
        self.pooled = empty(k, b, layers[-1].n_in)
        self.pooled_gradient = torch.empty_like(self.pooled)
        self.logits = empty(k, b, n)
        self.logit_gradient = torch.empty_like(self.logits)
        self.ones = torch.ones(k, 1, b * max(x.positions for x in layers), device=device)


class ConvStack:
    """Weights, gradients and buffers of ``n_networks`` plain convolutional networks.

    Parameters
    ----------
    architecture : Architecture
        One for which `can_stack` holds.
    channels, size : int
        Of the images.
    n_classes, n_networks : int
    device : torch.device

    Attributes
    ----------
    weights, gradients : Tensor of shape (n_networks, n_parameters)
        For each layer its kernel, by row, column, input channel, filter, then its bias.
    is_kernel : Tensor of shape (n_parameters,), bool
    """

    def __init__(
        self,
        architecture: Architecture,
        channels: int,
        size: int,
        n_classes: int,
        n_networks: int,
        device: torch.device,
    ) -> None:
        self.architecture = architecture
        self.device = device
        self.n_networks = n_networks
        self.n_classes = n_classes
        self._tanh = architecture.activation == "tanh"
        layers: list[_Layer] = []
        start, depth = 0, channels
        for width, stride, side in zip(
            architecture.widths, architecture.strides, architecture.sizes(size), strict=True
        ):
            kernel = architecture.kernel_size
            layer = _Layer(start, kernel * kernel * depth, width, side, depth, kernel, stride)
            layers.append(layer)
            start, depth = layer.stop, width
        layers.append(_Layer(start, depth, n_classes))
        self.layers = tuple(layers)
        self.n_parameters = layers[-1].stop
        shape = (n_networks, self.n_parameters)
        self.weights = torch.zeros(shape, device=device)
        self.gradients = torch.zeros(shape, device=device)
        self.is_kernel = torch.zeros(self.n_parameters, dtype=torch.bool, device=device)
        for layer in layers:
            self.is_kernel[layer.start : layer.start + layer.n_in * layer.n_out] = True
        self._scaled = torch.empty(shape, device=device)
        self._workspaces: dict[tuple[int, int], _Workspace] = {}
        self._thresholds = [0] * n_networks
        self.set_dropout(self._thresholds)

    # -- weights in and out ------------------------------------------------------------------

    def load(self, network: int, state: Mapping[str, NDArray[np.float32]]) -> None:
        """Copy a network's PyTorch state into its row."""
        row = self.weights[network]
        for name, layer in zip(self._names(), self.layers, strict=True):
            kernel = np.asarray(state[f"{name}.weight"])
            flat = np.moveaxis(kernel, 1, -1).reshape(layer.n_out, layer.n_in).T
            both = np.concatenate([flat, np.asarray(state[f"{name}.bias"])[None]])
            row[layer.start : layer.stop] = torch.tensor(both.ravel(), device=self.device)

    def state(self, network: int) -> dict[str, NDArray[np.float32]]:
        """Give a network's weights with PyTorch's names and layout."""
        row = self.weights[network].cpu().numpy()
        state = {}
        for name, layer in zip(self._names(), self.layers, strict=True):
            both = row[layer.start : layer.stop].reshape(layer.n_in + 1, layer.n_out)
            kernel = both[:-1].T
            if layer.channels:
                side = layer.kernel
                kernel = kernel.reshape(layer.n_out, side, side, layer.channels)
                kernel = kernel.transpose(0, 3, 1, 2)
            state[f"{name}.weight"] = np.ascontiguousarray(kernel)
            state[f"{name}.bias"] = both[-1].copy()
        return state

    def _names(self) -> list[str]:
        return [f"blocks.{i}.conv" for i in range(len(self.layers) - 1)] + ["head"]

    # -- dropout -----------------------------------------------------------------------------

    @property
    def dropout_values(self) -> tuple[int, ...]:
        """Values of one image that dropout may remove, layer after layer."""
        return tuple(layer.positions * layer.n_out for layer in self.layers[:-1])

    def set_dropout(self, thresholds: Sequence[int]) -> None:
        """Set how many of 256 values dropout removes, network by network."""
        self._thresholds = list(thresholds)
        keep = torch.tensor([[256.0 / (256.0 - t)] for t in thresholds], device=self.device)
        self._train_scale = self._scales(keep)
        self._test_scale = self._scales(torch.ones_like(keep))
        self._gradient_scale = self._train_scale.clone()
        self._gradient_scale[:, : self.layers[0].stop] = 1.0

    def _scales(self, keep: Tensor) -> Tensor:
        """Factors of the weights: dropout's, the mean's, and the 2 of tanh x = 2 s(2x) - 1."""
        scale = torch.ones_like(self.weights)
        for layer in self.layers[1:]:
            scale[:, layer.start : layer.start + layer.n_in * layer.n_out] = keep
        head = self.layers[-1]
        stop = head.start + head.n_in * head.n_out
        scale[:, head.start : stop] /= self.layers[-2].positions
        if self._tanh:
            scale[:, : self.layers[0].stop] = 2.0
        return scale

    # -- forward and backward ----------------------------------------------------------------

    def patch_table(self, images: Tensor) -> Tensor:
        """Lay out the first layer's patches of images, each with a 1 for the bias.

        Parameters
        ----------
        images : Tensor of shape (n, channels, size, size)

        Returns
        -------
        Tensor of shape (n, positions * (n_in + 1))
        """
        first = self.layers[0]
        table = torch.ones(len(images), first.positions, first.n_in + 1, device=self.device)
        windows = images.to(self.device).permute(0, 2, 3, 1)
        windows = windows.unfold(1, first.kernel, first.stride)
        windows = windows.unfold(2, first.kernel, first.stride)
        # (n, row, column, channel, kernel row, kernel column) to kernel row, column, channel.
        windows = windows.permute(0, 1, 2, 4, 5, 3)
        table[..., :-1] = windows.reshape(len(images), first.positions, first.n_in)
        return table.view(len(images), -1)

    def prepare(self, training: bool) -> None:
        """Scale the weights for the passes to come; call it whenever they have changed."""
        scale = self._train_scale if training else self._test_scale
        torch.mul(self.weights, scale, out=self._scaled)

    def _workspace(self, k: int, b: int) -> _Workspace:
        key = (k, b)
        if key not in self._workspaces:
            self._workspaces[key] = _Workspace(self.layers, k, b, self.n_classes, self.device)
        return self._workspaces[key]

    def _kernel(self, source: Tensor, rows: slice, layer: _Layer, with_bias: bool) -> Tensor:
        """View a layer's kernel as (k, n_in, n_out)."""
        n_rows = layer.n_in + with_bias
        flat = source[rows, layer.start : layer.start + n_rows * layer.n_out]
        return flat.unflatten(1, (n_rows, layer.n_out))

    def _bias(self, source: Tensor, rows: slice, layer: _Layer) -> Tensor:
        """View a layer's bias as (k, 1, n_out)."""
        return source[rows, layer.stop - layer.n_out : layer.stop].unsqueeze(1)

    def gather(self, table: Tensor, indices: Tensor) -> Tensor:
        """Give the patches of the images ``indices``, of shape (k, b), for `forward`."""
        k, b = indices.shape
        first = self._workspace(k, b).first
        torch.index_select(table, 0, indices.reshape(-1), out=first.view(k * b, -1))
        return first

    def share(self, part: Tensor, k: int) -> Tensor:
        """Give the patches of a part of a table to ``k`` networks, for `forward`."""
        first = self.layers[0]
        return part.view(1, len(part) * first.positions, first.n_in + 1).expand(k, -1, -1)

    def forward(self, rows: slice, first: Tensor, dropout: Sequence[Tensor] | None) -> Tensor:
        """Compute the logits of ``b`` images for each of the networks in ``rows``.

        Parameters
        ----------
        rows : slice
            The ``k`` networks.
        first : Tensor of shape (k, b * positions, n_in + 1)
            Patches of the first layer.
        dropout : sequence of Tensor of shape (k, b * dropout_values[i]), uint8, or None
            For each layer 1 for what dropout keeps and 0 for the rest.

        Returns
        -------
        Tensor of shape (k, b, n_classes)
            Overwritten by the next call.
        """
        k, b = len(first), first.shape[1] // self.layers[0].positions
        space = self._workspace(k, b)
        for i, layer in enumerate(self.layers[:-1]):
            values = space.values[i]
            flat = values.view(k, b * layer.positions, layer.n_out)
            kernel = self._kernel(self._scaled, rows, layer, with_bias=i == _FIRST)
            if i == _FIRST:
                torch.bmm(first, kernel, out=flat)
            else:
                self._gather_patches(space.values[i - 1], space.patches[i], layer)
                torch.baddbmm(
                    self._bias(self._scaled, rows, layer), space.patches[i], kernel, out=flat
                )
            if not self._tanh:
                values.relu_()
            elif i == _FIRST:
                # A sixth of the time of tanh; its rounding error of 1e-7 would be too large only
                # for the tiny values that tiny kernels give in the layers after this one.
                values.sigmoid_().mul_(2.0).sub_(1.0)
            else:
                values.tanh_()
            if dropout is not None:
                mask = space.masks[i]
                mask.view(k, -1).copy_(dropout[i])
                values.mul_(mask)
        head = self.layers[-1]
        last = self.layers[-2]
        torch.sum(space.values[-1].view(k, b, last.positions, last.n_out), 2, out=space.pooled)
        return torch.baddbmm(
            self._bias(self._scaled, rows, head),
            space.pooled,
            self._kernel(self._scaled, rows, head, with_bias=False),
            out=space.logits,
        )

    def backward(
        self, rows: slice, first: Tensor, targets: Tensor, dropped: bool, weight: float, add: bool
    ) -> None:
        """Compute the gradients of the mean cross-entropy after `forward` of the same images.

        Parameters
        ----------
        rows, first
            As given to `forward`.
        targets : Tensor of shape (k, b, n_classes)
            1 at the image's class, else 0.
        dropped : bool
            Whether `forward` had dropout.
        weight : float
            What one image counts: 1 over the size of the mini-batch.
        add : bool
            Whether to add to the gradients of an earlier part of the mini-batch.
        """
        k, b = targets.shape[:2]
        space = self._workspace(k, b)
        beta = 1.0 if add else 0.0
        upper = torch.softmax(space.logits, -1, out=space.logit_gradient)
        upper.sub_(targets).mul_(weight)
        self._add_gradients(rows, self.layers[-1], space.pooled, upper, space.ones, beta)
        kernel = self._kernel(self._scaled, rows, self.layers[-1], with_bias=False)
        torch.bmm(upper, kernel.mT, out=space.pooled_gradient)
        last = self.layers[-2]
        spread = space.gradients[-1].view(k, b, last.positions, last.n_out)
        spread.copy_(space.pooled_gradient.unsqueeze(2).expand_as(spread))
        for i in range(len(self.layers) - 2, -1, -1):
            layer = self.layers[i]
            self._activation_backward(space, i, dropped)
            upper = space.gradients[i].view(k, b * layer.positions, layer.n_out)
            if i == _FIRST:
                both = self._kernel(self.gradients, rows, layer, with_bias=True)
                torch.baddbmm(both, first.mT, upper, beta=beta, out=both)
                return
            self._add_gradients(rows, layer, space.patches[i], upper, space.ones, beta)
            kernel = self._kernel(self._scaled, rows, layer, with_bias=False)
            torch.bmm(upper, kernel.mT, out=space.patches[i])
            self._scatter_patches(space.patches[i], space.gradients[i - 1], layer)

    def finish_gradients(self) -> None:
        """Undo the scaling of the weights in the gradients, once a step's parts are all in."""
        self.gradients.mul_(self._gradient_scale)

    def _add_gradients(
        self, rows: slice, layer: _Layer, lower: Tensor, upper: Tensor, ones: Tensor, beta: float
    ) -> None:
        kernel = self._kernel(self.gradients, rows, layer, with_bias=False)
        torch.baddbmm(kernel, lower.mT, upper, beta=beta, out=kernel)
        bias = self._bias(self.gradients, rows, layer)
        torch.baddbmm(bias, ones[:, :, : upper.shape[1]], upper, beta=beta, out=bias)

    def _activation_backward(self, space: _Workspace, i: int, dropped: bool) -> None:
        gradient, values = space.gradients[i], space.values[i]
        if not self._tanh:
            # What dropout removed is 0, as what relu did.
            torch.ops.aten.threshold_backward.grad_input(gradient, values, 0.0, grad_input=gradient)
            return
        if dropped:
            gradient.mul_(space.masks[i])
        torch.ops.aten.tanh_backward.grad_input(gradient, values, grad_input=gradient)

    @staticmethod
    def _rows_of_patches(lower: Tensor, layer: _Layer, row: int, column: int, n: int) -> Tensor:
        """View, for each patch, ``n`` pixels from (row, column) on as one run of memory."""
        k, b, side, _, channels = lower.shape
        image, line = side * side * channels, side * channels
        return lower.as_strided(
            (k * b, layer.side, layer.side, n * channels),
            (image, layer.stride * line, layer.stride * channels, 1),
            row * line + column * channels,
        )

    def _gather_patches(self, lower: Tensor, patches: Tensor, layer: _Layer) -> None:
        k, b, side, _, channels = lower.shape
        line = side * channels
        windows = lower.as_strided(
            (k * b, layer.side, layer.side, layer.kernel, layer.kernel * channels),
            (side * line, layer.stride * line, layer.stride * channels, line, 1),
        )
        patches.view(windows.shape).copy_(windows)

    def _scatter_patches(self, patches: Tensor, lower: Tensor, layer: _Layer) -> None:
        """Add the gradients of patches up where the patches overlap."""
        k, b, _, _, channels = lower.shape
        windows = patches.view(k * b, layer.side, layer.side, layer.kernel, layer.kernel * channels)
        covered = layer.stride * layer.side
        lower[:, :, covered:].zero_()
        lower[:, :, :, covered:].zero_()
        # Runs of at most `stride` pixels do not overlap; the first run over a place sets it.
        for row in range(layer.kernel):
            for column in range(0, layer.kernel, layer.stride):
                n = min(layer.stride, layer.kernel - column)
                target = self._rows_of_patches(lower, layer, row, column, n)
                run = windows[:, :, :, row, column * channels : (column + n) * channels]
                if row < layer.stride and column == 0:
                    target.copy_(run)
                else:
                    target.add_(run)
