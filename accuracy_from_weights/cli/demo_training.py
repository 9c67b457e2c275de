"""Train a small Keras network on scikit-learn's digits and watch the estimate beside the truth.

The true accuracy on held-out images is measured to be printed and drawn. No estimate, no stopping
rule and no choice of weights sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from accuracy_from_weights.errors import AccuracyFromWeightsError
from accuracy_from_weights.features.probes.installed_keras import import_keras

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
    from accuracy_from_weights.zoo_training.training import ImageData

FEATURES = "weights+probes+log+sample"
"""What the predictor that ships reads here."""

_IMAGE_SIZE = 28


@dataclass(frozen=True)
class EpochSeen:
    """An epoch, counted from 1: what Keras logged, estimates included, and the true accuracy."""

    epoch: int
    log: Mapping[str, float]
    true_accuracy: float


@dataclass
class Watched:
    """Estimates and true accuracies of one training run."""

    epochs: list[EpochSeen] = field(default_factory=list)

    @property
    def log(self) -> dict[str, list[float]]:
        """The log as columns, in the form of Keras' ``History.history``."""
        return {key: [seen.log[key] for seen in self.epochs] for key in self.epochs[0].log}

    @property
    def true_accuracy(self) -> list[float]:
        """True accuracy at each epoch, fractions in [0, 1]."""
        return [seen.true_accuracy for seen in self.epochs]


def load_digits() -> ImageData:
    """Load scikit-learn's digits at the size of MNIST's: 1,297 images to train on, 500 held out."""
    from accuracy_from_weights.zoo_training.datasets import load_images

    return load_images("digits", size=_IMAGE_SIZE, channels=1)


def watch_digits(
    data: ImageData,
    predictors: Mapping[str, AccuracyPredictor],
    *,
    epochs: int = 40,
    patience: int = 6,
    seed: int = 0,
    on_epoch: Callable[[EpochSeen], None] | None = None,
) -> Watched:
    """Train the paper's network, stopped early on the first predictor's estimate.

    Parameters
    ----------
    data : ImageData
        One channel, as `load_digits` gives it.
    predictors : mapping of str to AccuracyPredictor
        Name in the log to predictor.
    epochs : int
        At most so many. Defaults to 40.
    patience : int
        Epochs without a rise of the estimate before training stops. Defaults to 6.
    seed : int
        Of weights and order. Defaults to 0.
    on_epoch : callable, optional
        Called after each epoch.

    Returns
    -------
    Watched

    Raises
    ------
    MissingDependencyError
        When Keras or its backend is missing.
    """
    keras = import_keras("demo")
    from accuracy_from_weights.callbacks.keras import AccuracyFromWeights

    keras.utils.set_random_seed(seed)
    watched, images = Watched(), _channels_last(data.x_train)
    model = _paper_network(keras, images.shape[1:], data.n_classes)

    def true_accuracy() -> float:
        # Not model.evaluate: inside a fit it would reset the metrics of the epoch.
        logits = keras.ops.convert_to_numpy(model(_channels_last(data.x_test), training=False))
        return float(np.mean(logits.argmax(axis=1) == data.y_test))

    class Spectator(keras.callbacks.Callback):  # type: ignore[name-defined]  # Keras came in at run time
        """Measure the true accuracy of each epoch without any other callback seeing it."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            log = {key: float(value) for key, value in (logs or {}).items()}
            if missing := [name for name in predictors if name not in log]:
                raise AccuracyFromWeightsError(
                    f"There is no estimate of {', '.join(missing)} at epoch {epoch + 1}; the "
                    "warning above says why."
                )
            watched.epochs.append(EpochSeen(epoch + 1, log, true_accuracy()))
            if on_epoch is not None:
                on_epoch(watched.epochs[-1])

    first = next(iter(predictors))
    model.fit(
        images,
        data.y_train,
        batch_size=32,
        epochs=epochs,
        verbose=0,
        callbacks=[
            *(
                AccuracyFromWeights(predictor, name=name, sample=(images, data.y_train))
                for name, predictor in predictors.items()
            ),
            keras.callbacks.EarlyStopping(monitor=first, mode="max", patience=patience),
            Spectator(),
        ],
    )
    return watched


def _paper_network(keras: Any, input_shape: tuple[int, ...], n_classes: int) -> Any:
    """Build the paper's network: three convolutions, global average pooling, a dense layer."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(input_shape),
            *(layers.Conv2D(16, 3, strides=2, activation="relu") for _ in range(3)),
            layers.GlobalAveragePooling2D(),
            layers.Dense(n_classes),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(3e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def _channels_last(images: np.ndarray) -> np.ndarray:
    """Return images with channels last, float32 in [-1, 1]."""
    moved = np.moveaxis(images, 1, -1).astype(np.float32)
    return moved / 127.5 - 1.0 if images.dtype == np.uint8 else moved
