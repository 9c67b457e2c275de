"""Keras models and their files: what lies between the layers, and whether they are a chain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from accuracy_from_weights.weights import read_weights
from accuracy_from_weights.weights.order.keras_graph import before_by_names
from tests.weights.comparing import assert_same_layers
from tests.weights.networks import randomise

layers = keras.layers


def activated_inside() -> Any:
    """Keras' most common order: the activation belongs to the convolution."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(3, 3, activation="tanh"),
            layers.MaxPooling2D(),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )


def activated_after() -> Any:
    inputs = keras.Input((6, 6, 2))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, use_bias=False)(inputs))
    x = layers.Conv2D(3, 3, name="second")(layers.LeakyReLU()(x))
    x = layers.Activation("elu")(layers.BatchNormalization(name="own")(x))
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


def activated_by_layers_before() -> Any:
    inputs = keras.Input((6, 6, 2))
    x = layers.BatchNormalization()(layers.ReLU()(layers.Conv2D(4, 3)(inputs)))
    inner = keras.Sequential(
        [keras.Input((4, 4, 4)), layers.Conv2D(3, 2), layers.ReLU(), layers.BatchNormalization()]
    )
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(inner(x))))


def joined() -> Any:
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(8, 3)(inputs)
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", activation="relu")(x))
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(2)(x))


BUILDERS: dict[str, tuple[Callable[[], Any], bool]] = {
    "inside": (activated_inside, True),
    "after": (activated_after, True),
    "before": (activated_by_layers_before, True),
    "joined": (joined, False),
}


def trained(model: Any) -> Any:
    """Random weights, and running means as they are after a few batches."""
    randomise(model)
    rng = np.random.default_rng(0)
    model.compile("sgd", "mse")
    for layer in model.layers:
        if isinstance(layer, layers_with_statistics):
            layer.momentum = 0.5
    for _ in range(8):
        model(rng.normal(size=(64, *model.input_shape[1:])).astype(np.float32), training=True)
    return model


layers_with_statistics = layers.BatchNormalization


@pytest.mark.parametrize("name", BUILDERS)
def test_the_model_and_its_files_are_read_alike(name: str, tmp_path: Path) -> None:
    build, is_chain = BUILDERS[name]
    model = trained(build())
    expected = read_weights(model)
    assert expected.is_chain == is_chain
    for file in ("model.keras", "model.weights.h5", "model.h5"):
        if file == "model.weights.h5":
            model.save_weights(tmp_path / file)
        else:
            model.save(tmp_path / file)
        network = read_weights(tmp_path / file)
        assert network.is_chain == (is_chain and file != "model.weights.h5"), file
        assert_same_layers(network, expected)


def test_the_layers_read_answer_as_the_model_does() -> None:
    model = trained(activated_inside())
    network = read_weights(model)
    assert not network.is_rectified
    first, second, last = (
        (layer.kernel.astype(np.float64), layer.bias.astype(np.float64)) for layer in network.layers
    )
    np.testing.assert_allclose(first[0].transpose(2, 3, 1, 0), model.layers[0].kernel)
    inputs = np.random.default_rng(1).normal(size=(3, 6, 6, 2))
    x = np.maximum(convolved(inputs, *first), 0)
    x = np.tanh(convolved(x, *second))
    logits = x.max(axis=(1, 2)) @ last[0].T + last[1]
    answers = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = keras.ops.convert_to_numpy(model(inputs.astype(np.float32)))
    np.testing.assert_allclose(answers, found, rtol=1e-3, atol=1e-4)


def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(1, 2))
    return np.einsum("nhwcij,ocij->nhwo", windows, kernel) + bias


def test_rectifiers_are_told_from_other_activations() -> None:
    for activation, is_rectified in (("relu", True), ("gelu", False), (keras.ops.tanh, False)):
        model = keras.Sequential([keras.Input((3,)), layers.Dense(4, activation=activation)])
        model.add(layers.Dense(2, activation="softmax"))
        assert read_weights(model).is_rectified == is_rectified
    leaky = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.ReLU(negative_slope=0.2)])
    leaky.add(layers.Dense(2))
    assert not read_weights(leaky).is_rectified


def test_names_of_layers_tell_what_lies_before_a_batch_norm() -> None:
    for names, expected in (
        (["conv2d", "batch_normalization", "re_lu", "dense"], "pass"),
        (["conv2d", "re_lu", "batch_normalization", "dense"], "activation"),
        (["conv2d", "max_pooling2d", "batch_normalization", "dropout", "activation"], "pass"),
        (["conv2d", "batch_normalization", "dense"], "activation"),
        (["conv2d", "batch_normalization", "dense", "softmax"], None),
        (["conv2d", "batch_normalization", "conv2d_1", "add", "re_lu"], None),
    ):
        assert before_by_names(names).get("batch_normalization") == expected, names
