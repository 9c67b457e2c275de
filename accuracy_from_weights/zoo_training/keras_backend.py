"""Train networks with Keras 3, one by one, on whichever backend Keras is set to."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.trained_network import Scores, TrainedNetwork
from accuracy_from_weights.zoo_training.checkpoint_keeper import TRAIN_EVALUATED, CheckpointKeeper
from accuracy_from_weights.zoo_training.initial_state import initial_state
from accuracy_from_weights.zoo_training.keras_models import KerasNetwork
from accuracy_from_weights.zoo_training.randomness import epoch_order, order_key
from accuracy_from_weights.zoo_training.tasks import (
    PreparedData,
    pool_key,
    prepare_data,
    training_examples,
)
from accuracy_from_weights.zoo_training.training import TrainingData

_EVALUATION_BATCH = 500


def train(
    recipes: Sequence[NetworkRecipe], data: TrainingData, *, device: str
) -> Iterator[TrainedNetwork]:
    """Train networks; see `training.train_networks`. Keras itself chooses the device."""
    key: tuple[object, ...] = ()
    images: PreparedData | None = None
    for recipe in recipes:
        if images is None or pool_key(recipe.task) != key:
            key, images = pool_key(recipe.task), prepare_data(recipe.task, data)
        yield _Training(recipe, images).run()


def check_device(device: str) -> None:
    """Accept any device: Keras' own backend chooses one."""


def networks_at_once(device: str) -> int:
    """Return 1: Keras trains one network after another."""
    return 1


def _check_supported(recipe: NetworkRecipe) -> None:
    a = recipe.architecture
    if (
        recipe.task.form.kind != "image"
        or a.kind in ("lstm", "gru")
        or a.head not in ("average", "flatten")
        or a.activation_first
        or a.dense
        or not a.has_bias
    ):
        raise ZooError(
            f"The Keras backend does not know recipe {recipe.index}'s architecture ({a.kind} for "
            f"inputs of kind {recipe.task.form.kind}); it trains what the recipes paper and wild "
            f"draw. Use the backend torch."
        )


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A recipe's learning rate at each step."""

    def __init__(self, recipe: NetworkRecipe, n_steps: int) -> None:
        self.recipe = recipe
        self.n_steps = max(n_steps, 1)
        self._rates = recipe.learning_rates(self.n_steps).astype("float32")

    def __call__(self, step: Any) -> Any:
        return ops.take(self._rates, ops.minimum(ops.cast(step, "int32"), self.n_steps - 1))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this schedule, by name."""
        return {"recipe": self.recipe.to_dict(), "n_steps": self.n_steps}


def _optimiser(recipe: NetworkRecipe, n_steps: int) -> Any:
    rate: Any = recipe.learning_rate
    if recipe.schedule != "constant":
        rate = _Schedule(recipe, n_steps)
    decay = recipe.weight_decay or None
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(rate, weight_decay=decay)
    if recipe.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(rate, weight_decay=decay)
    momentum = 0.9 if recipe.optimizer == "momentum" else 0.0
    return keras.optimizers.SGD(rate, momentum=momentum, weight_decay=decay)


class _Training:
    """One training run of one network."""

    def __init__(self, recipe: NetworkRecipe, images: PreparedData) -> None:
        _check_supported(recipe)
        self._recipe = recipe
        indices, labels = training_examples(recipe.task, images)
        self._x = np.ascontiguousarray(images.pool[indices].transpose(0, 2, 3, 1))
        self._y = labels
        self._test_x = np.ascontiguousarray(images.test.transpose(0, 2, 3, 1))
        self._test_y = images.test_labels
        self._network = KerasNetwork(
            recipe.architecture,
            images.form,
            images.n_classes,
            l2=recipe.l2,
            dropout=recipe.dropout_threshold / 256,
            seed=recipe.seed,
        )
        shapes = {
            name: values.shape
            for name, values in self._network.state().items()
            if "running_" not in name
        }
        self._network.load(initial_state(recipe, shapes))
        self._steps_at = recipe.checkpoint_steps(len(labels))
        optimiser = _optimiser(recipe, self._steps_at[-1])
        if recipe.weight_decay:
            optimiser.exclude_from_weight_decay(var_list=self._network.without_decay)
        # The "loss" that Keras reports includes the L2 term; the metric "entropy" does not.
        self._network.model.compile(
            optimizer=optimiser,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[
                keras.metrics.SparseCategoricalAccuracy("accuracy"),
                keras.metrics.SparseCategoricalCrossentropy("entropy", from_logits=True),
            ],
        )

    def run(self) -> TrainedNetwork:
        """Train to the last checkpoint."""
        start = time.perf_counter()
        keeper = CheckpointKeeper(self._recipe)
        n_train = len(self._y)
        batch, steps = self._recipe.batch_of(n_train), self._recipe.steps_of(n_train)
        key = order_key(self._recipe.order_seed)
        order = np.zeros(0, np.int64)
        done = 0
        parts: list[tuple[float, float, int]] = []
        for target in self._steps_at:
            while done < target and not keeper.diverged:
                within = done % steps
                if within == 0:
                    order, parts = epoch_order(key, done // steps, n_train), []
                n = min(steps - within, target - done)
                parts.append((*self._fit(order[within * batch : (within + n) * batch], batch), n))
                done += n
                keeper.diverged = not math.isfinite(parts[-1][1])
            if keeper.diverged:
                break
            log = (math.nan, math.nan)
            if parts:
                weights = [n for _, _, n in parts]
                log = (
                    float(np.average([accuracy for accuracy, _, _ in parts], weights=weights)),
                    float(np.average([loss for _, loss, _ in parts], weights=weights)),
                )
            test = self._evaluate(self._test_x, self._test_y)
            train = self._evaluate(self._x[:TRAIN_EVALUATED], self._y[:TRAIN_EVALUATED])
            keeper.keep(self._network.state(), Scores(*test, *train, *log))
        return keeper.trained(self._network.state(), time.perf_counter() - start)

    def _fit(self, chosen: NDArray[np.int64], batch: int) -> tuple[float, float]:
        """Train on the chosen images in their order; return the accuracy and the loss in nats."""
        history = self._network.model.fit(
            self._x[chosen], self._y[chosen], batch_size=batch, shuffle=False, verbose=0
        ).history
        return history["accuracy"][0], history["entropy"][0]

    def _evaluate(self, x: NDArray[np.float32], y: NDArray[np.int64]) -> tuple[float, float]:
        """Return the accuracy and the mean cross-entropy in nats on some images."""
        model = self._network.model
        logits = model.predict(x, batch_size=_EVALUATION_BATCH, verbose=0).astype(np.float64)
        with np.errstate(all="ignore"):
            logits -= logits.max(axis=1, keepdims=True)
            losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]
        return float((logits.argmax(axis=1) == y).mean()), float(losses.mean())
