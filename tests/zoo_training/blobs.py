"""Small made-up images that networks learn quickly."""

from __future__ import annotations

import numpy as np

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
