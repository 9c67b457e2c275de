"""Several networks of one architecture as one module: their weights are rows of a matrix.

Networks may differ in the number of classes, of a table's columns and of tokens. All are filled up
with zeros to the largest: what is filled up gets no input, no gradient and no share of the
probability, and is cut off again when a network's weights are read.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, vmap

from accuracy_from_weights.zoo.rebuilding.torch_modules import PlainModule
from accuracy_from_weights.zoo.rebuilding.torch_recurrence import RecurrentLayer
from accuracy_from_weights.zoo.recipes.architecture import Architecture, InputForm
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo_training.initial_state import initial_state, is_kernel

Shape = tuple[int, ...]


def _empty_module(recipe: NetworkRecipe, form: InputForm, n_classes: int) -> PlainModule:
    # The initial weights that PyTorch draws are overwritten; nothing else may notice the draw.
    with torch.random.fork_rng(devices=[]):
        return PlainModule(recipe.architecture, form, n_classes)


@functools.lru_cache(maxsize=1024)
def shapes_of(architecture: Architecture, form: InputForm, n_classes: int) -> Mapping[str, Shape]:
    """Return the shapes of a network's parameters by their names in its state dict."""
    with torch.device("meta"):
        parameters = PlainModule(architecture, form, n_classes).named_parameters()
        return {name: tuple(values.shape) for name, values in parameters}


def largest_form(forms: Sequence[InputForm]) -> InputForm:
    """Return the form that all forms, filled up with zeros, fit into."""
    shape = tuple(max(sides) for sides in zip(*(form.shape for form in forms), strict=True))
    return InputForm(forms[0].kind, shape, max(form.vocabulary for form in forms))


class TorchNetworks:
    """``k`` networks of one architecture, each with its own weights.

    One network is run as it is, several through `torch.func.vmap`.

    Attributes
    ----------
    form : InputForm
        The one into which all networks' inputs fit.
    weights, gradients : Tensor of shape (k, n_parameters)
    is_kernel : Tensor of shape (n_parameters,), bool
    """

    def __init__(self, recipes: Sequence[NetworkRecipe], device: torch.device) -> None:
        self.form = largest_form([recipe.task.form for recipe in recipes])
        self.n_classes = max(recipe.task.n_classes for recipe in recipes)
        self._own = [
            shapes_of(recipe.architecture, recipe.task.form, recipe.task.n_classes)
            for recipe in recipes
        ]
        self._module = _empty_module(recipes[0], self.form, self.n_classes).to(device)
        named = dict(self._module.named_parameters())
        k, n = len(recipes), sum(p.numel() for p in named.values())
        self.is_kernel = torch.zeros(n, dtype=torch.bool, device=device)
        parts: dict[str, slice] = {}
        for name, parameter in named.items():
            first = next(reversed(parts.values())).stop if parts else 0
            parts[name] = slice(first, first + parameter.numel())
            self.is_kernel[parts[name]] = is_kernel(name, tuple(parameter.shape))
        # Written on the host and sent once.
        initial = torch.zeros((k, n))
        for row, recipe in enumerate(recipes):
            for name, values in initial_state(recipe, self._own[row]).items():
                whole = initial[:, parts[name]].unflatten(1, named[name].shape)
                self._cut(name, row, whole).copy_(torch.from_numpy(values))
        self.weights = initial.to(device)
        self.gradients = torch.zeros_like(self.weights)
        self._parameters: dict[str, Tensor] = {}
        for name, parameter in named.items():
            part = parts[name]
            values = self.weights[:, part].unflatten(1, parameter.shape)
            self._parameters[name] = values.requires_grad_()
            values.grad = self.gradients[:, part].unflatten(1, parameter.shape)
        self._buffers = {
            name: torch.stack([buffer] * k) for name, buffer in self._module.named_buffers()
        }
        # Of classes that a network does not have, no logit may count.
        self._absent: Tensor | None = None
        if min(recipe.task.n_classes for recipe in recipes) < self.n_classes:
            self._absent = torch.zeros((k, 1, self.n_classes), device=device)
            for row, recipe in enumerate(recipes):
                self._absent[row, :, recipe.task.n_classes :] = -torch.inf
        if k == 1:
            self._use_row()
        else:
            for layer in self._module.modules():
                if isinstance(layer, RecurrentLayer):
                    layer.unrolled = True
        self._drops = False
        self._apply = vmap(self._one)

    def __len__(self) -> int:
        return len(self.weights)

    def _use_row(self) -> None:
        """Let the module itself hold the only network."""
        for name, parameter in self._module.named_parameters():
            values = self._parameters[name]
            parameter.data = values.data[0]
            parameter.grad = None if values.grad is None else values.grad[0]
        for name, buffer in self._module.named_buffers():
            self._buffers[name] = buffer.unsqueeze(0)

    # -- running -----------------------------------------------------------------------------

    def train(self, training: bool = True) -> None:
        """Let batch normalisation go by the batch, or by what it has gathered."""
        self._module.train(training)

    def logits(self, x: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """Compute logits, (k, b, n_classes), of inputs, (k, b, *form.shape).

        ``masks`` are dropout's factors, (k, b, ...), one for each of `dropout_shapes`; none
        switches dropout off.
        """
        if len(self) == 1:
            self._set_masks([mask[0] for mask in masks])
            logits: Tensor = self._module(x[0]).unsqueeze(0)
        else:
            logits = self._apply((self._parameters, self._buffers), x, tuple(masks))
        return logits if self._absent is None else logits + self._absent

    def _one(self, weights: Any, x: Tensor, masks: tuple[Tensor, ...]) -> Tensor:
        self._set_masks(masks)
        logits: Tensor = functional_call(self._module, weights, (x,))
        return logits

    def _set_masks(self, masks: Sequence[Tensor]) -> None:
        self._given = iter(masks)
        if bool(masks) != self._drops:
            self._drops = bool(masks)
            self._module.set_dropout((lambda _: next(self._given)) if masks else None)

    def dropout_shapes(self, batch: int) -> list[Shape]:
        """Return the shapes, without the batch axis, of the values that dropout works on."""
        shapes: list[Shape] = []

        def record(shape: torch.Size) -> Tensor:
            shapes.append(tuple(shape[1:]))
            return torch.ones((), device=self.weights.device)

        kind = torch.int64 if self.form.kind == "tokens" else torch.float32
        x = torch.zeros((batch, *self.form.shape), dtype=kind, device=self.weights.device)
        with torch.no_grad():
            was = self._module.training
            self._module.eval().set_dropout(record)
            self._module(x)
            self._module.train(was).set_dropout(None)
        return shapes

    # -- weights -----------------------------------------------------------------------------

    def _cut(self, name: str, row: int, values: Tensor) -> Tensor:
        """Return a network's own part of a parameter that was filled up."""
        return values[row][tuple(slice(side) for side in self._own[row].get(name, ()))]

    def states(self) -> list[dict[str, NDArray[np.float32]]]:
        """Return the networks' weights and buffers by their names in a PyTorch state dict."""
        tensors = {
            name: values.detach().cpu()
            for name, values in {**self._parameters, **self._buffers}.items()
            if values.is_floating_point()
        }
        names = [name for name in self._module.state_dict() if name in tensors]
        return [
            {name: self._cut(name, row, tensors[name]).numpy().copy() for name in names}
            for row in range(len(self))
        ]
