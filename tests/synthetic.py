"""Networks made of random numbers, for tests that need many and train none."""

from __future__ import annotations

import numpy as np

from accuracy_from_weights.features.description import describe
from accuracy_from_weights.weights.layers import Layer, NetworkWeights

PAPER_SHAPES = ((16, 1, 3, 3), (16, 16, 3, 3), (16, 16, 3, 3), (10, 16))


def network(
    generator: np.random.Generator,
    shapes: tuple[tuple[int, ...], ...] = PAPER_SHAPES,
    scale: float = 1.0,
) -> NetworkWeights:
    """A network whose kernels have the given shapes and a He-like scale."""
    layers = []
    for k, shape in enumerate(shapes):
        fan_in = int(np.prod(shape[1:]))
        kernel = generator.normal(0, scale * np.sqrt(2 / max(fan_in, 1)), shape)
        bias = generator.normal(0, 0.1, shape[0])
        kind = "dense" if len(shape) == 2 else "conv"
        layers.append(Layer(f"layer{k}", kind, kernel.astype(np.float32), bias.astype(np.float32)))
    return NetworkWeights(tuple(layers))


def learnable_zoo(
    n_runs: int, n_checkpoints: int = 4, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, accuracies and runs of a made-up zoo in which accuracy follows the weights' scale.

    The checkpoints of a run share its noise, as those of a real run do.
    """
    generator = np.random.default_rng(seed)
    features, accuracies, runs = [], [], []
    for run in range(n_runs):
        target, noise = generator.uniform(0.3, 2.0), generator.normal(0, 0.03)
        for checkpoint in range(n_checkpoints):
            scale = 0.3 + (target - 0.3) * checkpoint / max(n_checkpoints - 1, 1)
            features.append(describe(network(generator, scale=scale))[0])
            accuracies.append(np.clip(0.1 + 0.4 * scale + noise, 0, 1))
            runs.append(f"run{run}")
    return np.array(features), np.array(accuracies), np.array(runs)
