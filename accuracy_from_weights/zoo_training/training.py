"""Training of a zoo's networks: the images, the choice of a backend, and the call that trains.

The frameworks stand behind `train_networks`; nothing here imports one.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError, needs
from accuracy_from_weights.zoo.recipes.architecture import InputForm
from accuracy_from_weights.zoo.recipes.data_facts import DataFacts
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.trained_network import TrainedNetwork
from accuracy_from_weights.zoo_training.universe_data import UniverseData

_BACKENDS = {
    "torch": ("torch", "accuracy_from_weights.zoo_training.torch_backend"),
    "keras": ("keras", "accuracy_from_weights.zoo_training.keras_backend"),
}


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images with labels, split into those to train on and those to test on.

    Attributes
    ----------
    name : str
        Name of the data set; recipes record it.
    x_train, x_test : ndarray of shape (n, channels, height, width)
        float32 in [-1, 1], or uint8 in [0, 255], which is scaled to [-1, 1] when it is used.
    y_train, y_test : ndarray of shape (n,), int64
        Classes, 0 to ``n_classes - 1``.
    n_classes : int

    Raises
    ------
    ZooError
        When shapes, types or labels do not fit together.
    """

    name: str
    x_train: NDArray[np.generic]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.generic]
    y_test: NDArray[np.int64]
    n_classes: int

    def __post_init__(self) -> None:
        for part, x, y in (
            ("train", self.x_train, self.y_train),
            ("test", self.x_test, self.y_test),
        ):
            if x.ndim != 4 or x.shape[2] != x.shape[3] or x.dtype not in (np.uint8, np.float32):
                raise ZooError(
                    f"x_{part} has the shape {x.shape} and the type {x.dtype} instead of (n, "
                    "channels, size, size), uint8 or float32."
                )
            if y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
                raise ZooError(
                    f"y_{part} has the shape {y.shape} and the type {y.dtype} instead of one "
                    f"integer label for each of {len(x)} images."
                )
            if len(y) == 0 or y.min() < 0 or y.max() >= self.n_classes:
                raise ZooError(
                    f"y_{part} holds no label."
                    if len(y) == 0
                    else f"y_{part} holds labels from {y.min()} to {y.max()} instead of 0 to "
                    f"{self.n_classes - 1}."
                )
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise ZooError(
                f"Training and test images differ in shape: {self.x_train.shape[1:]} and "
                f"{self.x_test.shape[1:]}."
            )

    @property
    def facts(self) -> DataFacts:
        """What recipes may depend on."""
        return DataFacts(
            name=self.name,
            form=InputForm("image", tuple(map(int, self.x_train.shape[1:]))),
            n_classes=self.n_classes,
            n_train=len(self.x_train),
            n_test=len(self.x_test),
        )


TrainingData = ImageData | UniverseData
"""What networks are trained on: a data set, or a universe of tasks."""


def load_backend(backend: str, device: str) -> Any:
    """Import the module that trains with a framework, and check that the device is there.

    An unknown backend, or a device that PyTorch cannot use, raises `ZooError`; a framework that is
    not installed raises `MissingDependencyError`.
    """
    if backend not in _BACKENDS:
        raise ZooError(f"{backend!r} is no backend; use one of {sorted(_BACKENDS)}.")
    framework, module_name = _BACKENDS[backend]
    with needs(f"backend={backend!r} needs {framework}", extra=backend):
        importlib.import_module(framework)
    trainer = importlib.import_module(module_name)
    trainer.check_device(device)
    return trainer


def train_networks(
    recipes: Sequence[NetworkRecipe],
    data: TrainingData,
    *,
    device: str = "cpu",
    backend: str = "torch",
) -> Iterator[TrainedNetwork]:
    """Train networks, several at once where they have one architecture and one schedule.

    A network's weights do not depend on the company it is trained in, nor on the device, up to
    rounding. Networks come in the order in which they are done.

    Parameters
    ----------
    recipes : sequence of NetworkRecipe
    data : ImageData or UniverseData
        The data set that the recipes name, or the universe.
    device : str, default "cpu"
        Where PyTorch trains, for example ``"cuda"``. The Keras backend trains where Keras does.
    backend : {"torch", "keras"}, default "torch"

    Raises
    ------
    ZooError
        When a recipe does not fit the data; else as `load_backend`.
    """
    trainer = load_backend(backend, device)
    if isinstance(data, ImageData):
        for recipe in recipes:
            recipe.check_fits(data.facts)
    yield from trainer.train(recipes, data, device=device)
