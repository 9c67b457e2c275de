"""Small made-up images that networks learn quickly, and PyTorch modules to run those networks."""

from __future__ import annotations

import numpy as np
import torch

from accuracy_from_weights.zoo.rebuilding.torch_modules import PlainModule
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo_training.initial_state import initial_state
from accuracy_from_weights.zoo_training.training import ImageData


def blobs(
    n_classes: int = 4, channels: int = 1, size: int = 20, n_train: int = 300, n_test: int = 100
) -> ImageData:
    """Images that are bright in a band that stands for their class, with noise."""
    rng = np.random.default_rng(5)
    edges = np.linspace(0, size, n_classes + 1).astype(int)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = rng.integers(n_classes, size=n)
        x = rng.normal(90, 40, (n, channels, size, size))
        for image, label in zip(x, y, strict=True):
            image[:, edges[label] : edges[label + 1]] += 90
        return np.clip(x, 0, 255).astype(np.uint8), y

    x_train, y_train = draw(n_train)
    x_test, y_test = draw(n_test)
    return ImageData("blobs", x_train, y_train, x_test, y_test, n_classes)


def build_module(recipe: NetworkRecipe) -> PlainModule:
    """Build a recipe's network with its initial weights."""
    with torch.random.fork_rng(devices=[]):
        module = PlainModule(recipe.architecture, recipe.task.form, recipe.task.n_classes)
    state = initial_state(recipe, {n: tuple(p.shape) for n, p in module.named_parameters()})
    module.load_state_dict({n: torch.from_numpy(v) for n, v in state.items()}, strict=False)
    return module
