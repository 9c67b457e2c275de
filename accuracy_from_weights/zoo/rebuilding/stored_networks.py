"""Architectures, inputs and tensors of a zoo's networks, which are needed to run them again.

Weights alone do not say how a network computes. The recipes of a zoo that this package built do.
Networks in the published format are the paper's, whose activation is in the metrics.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.weights.layers import NetworkStack
from accuracy_from_weights.zoo.network_file import StoredNetwork
from accuracy_from_weights.zoo.recipes.architecture import (
    Architecture,
    InputForm,
    paper_architecture,
)
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe, Task

Rows = NDArray[np.intp]

_ACTIVATIONS = ("relu", "tanh")
# Pixels of a side, for zoos in the published format, which do not record it; by how the data
# set's name begins. The paper's network takes images of any size.
_SIZES = {"cifar": 32, "svhn": 32, "usps": 16, "digits": 16}
_COMMON_SIZE = 28


@dataclass(frozen=True, eq=False)
class RunnableNetworks:
    """``k`` networks of one architecture that can be run.

    Attributes
    ----------
    rows : ndarray of shape (k,)
        Their rows in the zoo.
    form : InputForm
        What they take.
    tensors : dict of str to ndarray of shape (k, ...)
        By the names of the state dict of `torch_modules.PlainModule`.
    task : Task or None
        What they were trained on, where that is recorded.
    """

    rows: Rows
    architecture: Architecture
    form: InputForm
    tensors: Mapping[str, NDArray[Any]]
    task: Task | None = None

    def at(self, chosen: NDArray[np.bool_]) -> RunnableNetworks:
        """Return some of the networks, given as a mask of shape (k,)."""
        tensors = {name: values[chosen] for name, values in self.tensors.items()}
        return dataclasses.replace(self, rows=self.rows[chosen], tensors=tensors)


def is_paper_architecture(stack: NetworkStack) -> bool:
    """Return whether these are the paper's: three 3 x 3 convolutions of 16 filters, one dense."""
    layers = stack.layers
    if [layer.kind for layer in layers] != ["conv", "conv", "conv", "dense"]:
        return False
    if any(
        layer.bias is None or layer.norm_scale is not None or layer.norm_shift is not None
        for layer in layers
    ):
        return False
    shapes = [layer.kernel.shape[1:] for layer in layers]
    convolutions = [(16, shapes[0][1], 3, 3), (16, 16, 3, 3), (16, 16, 3, 3)]
    return shapes[:3] == convolutions and shapes[3][1] == 16


def runnable_stored(network: StoredNetwork, first_row: int) -> Iterator[RunnableNetworks]:
    """Yield the checkpoints of a stored network, unless its recipe is one of a later version.

    They stand from ``first_row`` of the zoo on.
    """
    try:
        recipe = NetworkRecipe.from_dict(network.header["recipe"])
    except ZooError:  # of a later version, with choices that this one does not know
        return
    rows = np.arange(first_row, first_row + len(network.header["steps"]))
    task = recipe.task
    yield RunnableNetworks(rows, recipe.architecture, task.form, network.weights, task)


def runnable_stack(
    stack: NetworkStack, rows: Rows, recipe: Mapping[str, NDArray[np.generic]], dataset: str
) -> Iterator[RunnableNetworks]:
    """Yield those of the paper's networks whose activation is known, so that they can be run.

    Each part of the stack has one activation and size of images. ``rows`` of the zoo, (k,), and the
    columns of the recipe, named as in the published zoo, belong to the stack's k networks. The data
    set's name tells the size of the images where the recipe does not.
    """
    activations = recipe.get("activation")
    if activations is None or not is_paper_architecture(stack):
        return
    sizes = _image_sizes(recipe, dataset, len(rows))
    for activation in _ACTIVATIONS:
        for size in np.unique(sizes).tolist():
            alike = (activations == activation) & (sizes == size)
            if alike.any():
                yield RunnableNetworks(
                    rows[alike],
                    paper_architecture(activation),
                    InputForm("image", (stack.layers[0].kernel.shape[2], size, size)),
                    _paper_tensors(stack, alike),
                )


def _paper_tensors(stack: NetworkStack, chosen: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    names = [f"blocks.{i}.conv" for i in range(len(stack.layers) - 1)] + ["head"]
    tensors: dict[str, NDArray[Any]] = {}
    for name, layer in zip(names, stack.layers, strict=True):
        tensors[f"{name}.weight"] = layer.kernel[chosen]
        if layer.bias is not None:
            tensors[f"{name}.bias"] = layer.bias[chosen]
    return tensors


def _image_sizes(
    recipe: Mapping[str, NDArray[np.generic]], dataset: str, n: int
) -> NDArray[np.intp]:
    names: Any = recipe.get("dataset", np.full(n, dataset))
    by_name = np.array([_size_of(str(name)) for name in names], np.intp)
    recorded: Any = recipe.get("image_size")
    if recorded is None or recorded.dtype.kind != "f":
        return by_name
    known = np.nan_to_num(recorded) > 0
    return np.where(known, np.where(known, recorded, 0), by_name).astype(np.intp)


def _size_of(dataset: str) -> int:
    name = dataset.lower()
    return next((size for start, size in _SIZES.items() if name.startswith(start)), _COMMON_SIZE)
