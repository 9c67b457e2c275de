"""Initial values of an architecture's parameters, the same for all backends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.zoo.rebuilding.parameters import is_kernel, parameter_shapes
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo_training.randomness import initial_kernel, weight_generator

Shapes = Iterator[tuple[str, tuple[int, ...]]]

POSITION = "position"
_POSITION_STD = 0.02


def initial_state(
    recipe: NetworkRecipe, channels: int, size: int, n_classes: int
) -> dict[str, NDArray[np.float32]]:
    """Draw a network's initial parameters: kernels by the recipe, biases 0, scales 1.

    Parameters
    ----------
    recipe : NetworkRecipe
    channels, size : int
        Of the images.
    n_classes : int

    Returns
    -------
    dict of str to ndarray
        Names and layout of a PyTorch state dict.
    """
    rng = weight_generator(recipe.seed)
    state: dict[str, NDArray[np.float32]] = {}
    for name, shape in parameter_shapes(recipe.architecture, channels, size, n_classes):
        if name == POSITION:
            state[name] = (_POSITION_STD * rng.standard_normal(shape)).astype(np.float32)
        elif is_kernel(name, shape):
            state[name] = initial_kernel(rng, shape, recipe.initialiser, recipe.init_std)
        else:
            state[name] = np.full(shape, 0.0 if name.endswith("bias") else 1.0, np.float32)
    return state
