"""Real, tiny `fit` runs of Keras, on whichever backend KERAS_BACKEND names."""

from __future__ import annotations

import random

import keras
import numpy as np

from tests.callbacks.scripted import digits

KEY = "accuracy_from_weights"
KEYS = [KEY, f"{KEY}_low", f"{KEY}_high", f"{KEY}_in_family"]
X, Y = DATA = digits(128)


def network(
    seed: int = 0, learning_rate: float = 0.01, metrics: tuple = ("accuracy",)
) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ]
    )
    model.compile(
        keras.optimizers.SGD(learning_rate, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=list(metrics),
    )
    return model


def fit(model: keras.Model, callbacks: list, epochs: int = 3, **more) -> keras.callbacks.History:
    return model.fit(X, Y, batch_size=64, epochs=epochs, verbose=0, callbacks=callbacks, **more)


class Snapshots(keras.callbacks.Callback):
    """Keeps the weights, and which epochs were run, for comparison."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: dict[int, list[np.ndarray]] = {}

    def on_epoch_end(self, epoch, logs=None):
        self.weights[epoch] = self.model.get_weights()


def assert_same(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.tobytes() == b.tobytes()


def outcome(model: keras.Model, history: keras.callbacks.History) -> tuple:
    """Return all that training leaves behind, for comparison bit for bit: losses, weights, states.

    Among the model's variables are the states of its dropout layers' random generators.
    """
    losses = {key: value for key, value in history.history.items() if KEY not in key}
    variables = [*model.variables, *model.optimizer.variables]
    arrays = [keras.ops.convert_to_numpy(variable).tobytes() for variable in variables]
    states = [random.getstate(), np.random.get_state()[1].tobytes()]  # noqa: NPY002 - the global one
    if keras.backend.backend() == "torch":
        import torch

        states.append(torch.get_rng_state().numpy().tobytes())
    return losses, arrays, states
