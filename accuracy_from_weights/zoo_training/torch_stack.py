"""Stacks of plain convolutional networks that are trained at once, with hand-written gradients.

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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from accuracy_from_weights.zoo.recipes.architecture import Architecture, InputForm
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo_training.torch_stack_buffers import (
    FIRST,
    Buffers,
    ConvolutionViews,
    LayerViews,
    Plan,
    StackLayer,
)


def can_stack(recipe: NetworkRecipe) -> bool:
    """Return whether `ConvStack` can train a recipe's network."""
    architecture = recipe.architecture
    return (
        recipe.task.form.kind == "image"
        and architecture.kind == "cnn"
        and not architecture.dense
        and architecture.normalisation == "none"
        and architecture.pooling == "none"
        and architecture.padding == "valid"
        and architecture.head == "average"
        and architecture.activation in ("relu", "tanh")
        and max(architecture.strides) <= architecture.kernel_size
    )


class ConvStack:
    """Weights, gradients and buffers of ``n_networks`` plain convolutional networks for images.

    Attributes
    ----------
    weights, gradients : Tensor of shape (n_networks, n_parameters)
        For each layer its kernel, by row, column, input channel, filter, then its bias.
    is_kernel : Tensor of shape (n_parameters,), bool
    """

    def __init__(
        self,
        architecture: Architecture,
        form: InputForm,
        n_classes: int,
        n_networks: int,
        device: torch.device,
    ) -> None:
        self.device = device
        self.n_classes = n_classes
        self._tanh = architecture.activation == "tanh"
        layers: list[StackLayer] = []
        start, depth = 0, form.channels
        for width, stride, side in zip(
            architecture.widths, architecture.strides, architecture.sizes(form.size), strict=True
        ):
            kernel = architecture.kernel_size
            n_in = kernel * kernel * depth
            layers.append(StackLayer(start, n_in, width, side, depth, kernel, stride))
            start, depth = layers[-1].stop, width
        layers.append(StackLayer(start, depth, n_classes))
        self.layers = tuple(layers)
        shape = (n_networks, layers[-1].stop)
        self.weights = torch.zeros(shape, device=device)
        self.gradients = torch.zeros(shape, device=device)
        self.is_kernel = torch.zeros(shape[1], dtype=torch.bool, device=device)
        for layer in layers:
            layer.part_of(self.is_kernel[None])[1].fill_(True)
        self._scaled = torch.empty(shape, device=device)
        self._buffers: dict[tuple[int, int], Buffers] = {}
        self._plans: dict[tuple[int, int, int], Plan] = {}
        self.set_dropout([0] * n_networks)

    # -- weights in and out ------------------------------------------------------------------

    def load(self, states: Sequence[Mapping[str, NDArray[np.float32]]]) -> None:
        """Copy the networks' PyTorch states into their rows."""
        rows = np.empty(self.weights.shape, np.float32)
        for row, state in zip(rows, states, strict=True):
            for name, layer in zip(self._names(), self.layers, strict=True):
                kernel = np.asarray(state[f"{name}.weight"])
                flat = np.moveaxis(kernel, 1, -1).reshape(layer.n_out, layer.n_in).T
                both = np.concatenate([flat, np.asarray(state[f"{name}.bias"])[None]])
                row[layer.start : layer.stop] = both.ravel()
        self.weights.copy_(torch.from_numpy(rows))

    def states(self) -> list[dict[str, NDArray[np.float32]]]:
        """Return all networks' weights with PyTorch's names and layout."""
        return [self._state(row) for row in self.weights.cpu().numpy()]

    def _state(self, row: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        state = {}
        for name, layer in zip(self._names(), self.layers, strict=True):
            both = row[layer.start : layer.stop].reshape(layer.n_in + 1, layer.n_out)
            kernel = both[:-1].T
            if layer.channels:
                side = layer.kernel
                kernel = kernel.reshape(layer.n_out, side, side, layer.channels)
                kernel = kernel.transpose(0, 3, 1, 2)
            state[f"{name}.weight"] = kernel.copy()
            state[f"{name}.bias"] = both[-1].copy()
        return state

    def _names(self) -> list[str]:
        return [f"blocks.{i}.conv" for i in range(len(self.layers) - 1)] + ["head"]

    # -- dropout -----------------------------------------------------------------------------

    @property
    def dropout_values(self) -> tuple[int, ...]:
        """The number of values of one image to which dropout applies, layer by layer."""
        return tuple(layer.positions * layer.n_out for layer in self.layers[:-1])

    def set_dropout(self, thresholds: Sequence[int]) -> None:
        """Set the dropout rate of each network, in 256ths: 64 removes a quarter of the values."""
        keep = torch.tensor([[256.0 / (256.0 - t)] for t in thresholds], device=self.device)
        self._train_scale = self._scales(keep)
        self._test_scale = self._scales(torch.ones_like(keep))
        self._gradient_scale = self._train_scale.clone()
        self._gradient_scale[:, : self.layers[0].stop] = 1.0

    def _scales(self, keep: Tensor) -> Tensor:
        """Return the weights' factors: dropout, the mean, and 2 for tanh x = 2 sigmoid(2x) - 1."""
        scale = torch.ones_like(self.weights)
        for layer in self.layers[1:]:
            layer.part_of(scale)[1].copy_(keep[:, None])
        self.layers[-1].part_of(scale)[1].div_(self.layers[-2].positions)
        if self._tanh:
            scale[:, : self.layers[0].stop] = 2.0
        return scale

    # -- forward and backward ----------------------------------------------------------------

    def patch_table(self, images: Tensor) -> Tensor:
        """Lay out the first layer's patches of images, each with a 1 for the bias.

        Images, (n, channels, size, size), become a table, (n, positions * (n_in + 1)).
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

    def _plan(self, rows: slice, b: int) -> Plan:
        key = (rows.start, rows.stop, b)
        plan = self._plans.get(key)
        if plan is None:
            size = (rows.stop - rows.start, b)
            if size not in self._buffers:
                self._buffers[size] = Buffers(self.layers, *size, self.n_classes, self.device)
            buffers = self._buffers[size]
            plan = Plan(self.layers, buffers, self._scaled[rows], self.gradients[rows])
            self._plans[key] = plan
        return plan

    def gather(self, rows: slice, table: Tensor, indices: Tensor) -> Any:
        """Return the patches of ``b`` images of its own for each of ``k`` networks, for `forward`.

        ``indices`` of shape (k, b) are rows of a table that `patch_table` returned.
        """
        plan = self._plan(rows, indices.shape[1])
        torch.index_select(table, 0, indices.reshape(-1), out=plan.rows_of_first)
        return plan.buffers.first

    def share(self, part: Tensor, k: int) -> Any:
        """Return the patches in a part of a table, the same for ``k`` networks, for `forward`."""
        first = self.layers[0]
        return part.view(1, len(part) * first.positions, first.n_in + 1).expand(k, -1, -1)

    def forward(self, rows: slice, first: Any, dropout: Sequence[Tensor] | None) -> Tensor:
        """Compute the logits of ``b`` images for each of the ``k`` networks in ``rows``.

        ``first``, (k, b * positions, n_in + 1), are patches of the first layer. ``dropout`` has for
        each layer 1 for what is kept and 0 for the rest, (k, b * dropout_values[i]), uint8. The
        logits, of shape (k, b, n_classes), are overwritten by the next call.
        """
        plan = self._plan(rows, first.shape[1] // self.layers[0].positions)
        for i, layer in enumerate(plan.convolutions):
            if i == FIRST:
                torch.bmm(first, layer.both, out=layer.flat)
            else:
                layer.gather_patches()
                torch.baddbmm(layer.bias, layer.patches, layer.kernel, out=layer.flat)
            if not self._tanh:
                layer.values.relu_()
            elif i == FIRST:
                # A sixth of the time of tanh; its rounding error of 1e-7 would be too large only
                # for the tiny values that tiny kernels give in the layers after this one.
                layer.values.sigmoid_().mul_(2.0).sub_(1.0)
            else:
                layer.values.tanh_()
            if dropout is not None:
                layer.flat_mask.copy_(dropout[i])
                layer.values.mul_(layer.mask)
        buffers = plan.buffers
        torch.sum(plan.last, 2, out=buffers.pooled)
        head = plan.head
        return torch.baddbmm(head.bias, buffers.pooled, head.kernel, out=buffers.logits)

    def backward(
        self, rows: slice, first: Any, targets: Tensor, dropped: bool, weight: float, add: bool
    ) -> None:
        """Compute the gradients of the mean cross-entropy after `forward` of the same images.

        ``targets``, (k, b, n_classes), are 1 at the image's class, else 0; ``weight`` is what one
        image counts, 1 over the size of the mini-batch. ``add`` adds to the gradients of an earlier
        part of it.
        """
        plan = self._plan(rows, targets.shape[1])
        buffers = plan.buffers
        beta = 1.0 if add else 0.0
        upper = torch.softmax(buffers.logits, -1, out=buffers.logit_gradient)
        upper.sub_(targets).mul_(weight)
        _add_gradients(plan.head, buffers.pooled.mT, plan.ones, upper, beta)
        torch.bmm(upper, plan.head.kernel_t, out=buffers.pooled_gradient)
        plan.last_gradient.copy_(plan.spread)
        for i in range(len(plan.convolutions) - 1, -1, -1):
            layer = plan.convolutions[i]
            self._activation_backward(layer, dropped)
            upper = layer.flat_gradient
            if i == FIRST:
                both = layer.both_gradient
                torch.baddbmm(both, first.mT, upper, beta=beta, out=both)
                return
            _add_gradients(layer, layer.patches_t, layer.ones, upper, beta)
            torch.bmm(upper, layer.kernel_t, out=layer.patches)
            layer.scatter_patches()

    def finish_gradients(self) -> None:
        """Turn the gradients of the scaled weights into those of the weights, once a step."""
        self.gradients.mul_(self._gradient_scale)

    def _activation_backward(self, layer: ConvolutionViews, dropped: bool) -> None:
        gradient, values = layer.gradient, layer.values
        if not self._tanh:
            # Values that dropout removed are 0, as are those that relu cut off.
            torch.ops.aten.threshold_backward.grad_input(gradient, values, 0.0, grad_input=gradient)
            return
        if dropped:
            gradient.mul_(layer.mask)
        torch.ops.aten.tanh_backward.grad_input(gradient, values, grad_input=gradient)


def _add_gradients(
    layer: LayerViews, lower_t: Tensor, ones: Tensor, upper: Tensor, beta: float
) -> None:
    """Add the gradients of kernel and bias from a part of a mini-batch; ``beta`` 0 sets them."""
    kernel, bias = layer.kernel_gradient, layer.bias_gradient
    torch.baddbmm(kernel, lower_t, upper, beta=beta, out=kernel)
    torch.baddbmm(bias, ones, upper, beta=beta, out=bias)
