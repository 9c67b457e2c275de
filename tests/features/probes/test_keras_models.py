"""Probes find what a Keras model takes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.features.input_spec import InputSpec
from accuracy_from_weights.features.probes import input_spec, probe
from accuracy_from_weights.features.probes.synthetic_inputs import synthetic_inputs
from accuracy_from_weights.features.training_sample import describe_sample, take_sample


def model(*parts: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([*parts])


SPECS = [
    (
        lambda: model(
            keras.Input((None,)), layers.Embedding(30, 4), layers.LSTM(5), layers.Dense(2)
        ),
        InputSpec("tokens", (32,), 30),
    ),
    (
        lambda: model(
            keras.Input((10,)), layers.Embedding(30, 4), layers.Flatten(), layers.Dense(2)
        ),
        InputSpec("tokens", (10,), 30),
    ),
    (
        lambda: model(keras.Input((None, 3)), layers.GRU(5), layers.Dense(2)),
        InputSpec("signal", (64, 3), channels_last=True),
    ),
    (
        lambda: model(keras.Input((28, 28)), layers.Flatten(), layers.Dense(2)),
        InputSpec("image", (28, 28), channels_last=True),
    ),
    (
        lambda: model(
            keras.Input((8, 8, 1)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2)
        ),
        InputSpec("image", (8, 8, 1), channels_last=True, span=(0.0, 255.0)),
    ),
    (
        lambda: model(keras.Input((6,)), layers.Dense(4), layers.Dense(1, "sigmoid")),
        InputSpec("table", (6,)),
    ),
]


@pytest.mark.parametrize(("make", "spec"), SPECS)
def test_what_a_model_takes(make: Any, spec: InputSpec) -> None:
    network = make()
    assert input_spec(network) == spec
    assert np.isfinite(probe(network)).all()
    rng = np.random.default_rng(0)
    x = rng.integers(0, 30, (40, *spec.shape)) if spec.vocabulary else None
    x = rng.normal(size=(40, *spec.shape)) if x is None else x
    sample = take_sample(network, x, np.arange(40) % 2)
    assert np.isfinite(describe_sample(network, sample)[0]).all()


def test_the_range_of_running_statistics() -> None:
    rows = []
    for low, high in ((-1.0, 1.0), (0.0, 255.0)):
        network = model(
            keras.Input((8, 8, 3)), layers.Conv2D(6, 3, use_bias=False),
            layers.BatchNormalization(momentum=0.5), layers.ReLU(),
            layers.GlobalAveragePooling2D(), layers.Dense(3),
        )  # fmt: skip
        images, _ = synthetic_inputs(InputSpec("image", (8, 8, 3), None, True, (low, high)))
        for _ in range(20):
            network(images, training=True)
        rows.append(probe(network))
    np.testing.assert_allclose(rows[0], rows[1], atol=0.05)


def test_what_cannot_be_asked() -> None:
    tagger = model(
        keras.Input((None,)), layers.Embedding(30, 4), layers.LSTM(5, return_sequences=True)
    )
    with pytest.raises(UnsupportedModelError, match="no classifier"):
        probe(tagger)
    with pytest.raises(UnsupportedModelError, match="not built"):
        probe(keras.Sequential([layers.Dense(2)]))
    open_size = model(keras.Input((None, None, 3)), layers.Conv2D(4, 3))
    with pytest.raises(UnsupportedModelError, match="`input_shape`"):
        probe(open_size)
