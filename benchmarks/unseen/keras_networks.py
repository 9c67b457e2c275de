"""Classifiers as users of Keras write them, with its default initialisers."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

Shape = tuple[int, ...]


def _head(outputs: int) -> layers.Layer:
    return layers.Dense(outputs, activation="sigmoid" if outputs == 1 else "softmax")


def cnn(shape: Shape, outputs: int) -> keras.Model:
    """Build the convolutional network of Keras' example for MNIST, at half width."""
    return keras.Sequential(
        [
            keras.Input(shape=shape),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, activation="relu", padding="same"),
            layers.Flatten(),
            layers.Dropout(0.5),
            _head(outputs),
        ]
    )


def cnn_bn(shape: Shape, outputs: int) -> keras.Model:
    """Build convolutions with batch normalisation between them and their activations."""
    model = keras.Sequential([keras.Input(shape=shape)])
    for width in (16, 32, 64):
        model.add(layers.Conv2D(width, 3, padding="same", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.Activation("relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.GlobalAveragePooling2D())
    model.add(_head(outputs))
    return model


def resnet(shape: Shape, outputs: int) -> keras.Model:
    """Build two residual blocks in the functional style."""
    inputs = keras.Input(shape=shape)
    x = layers.Conv2D(16, 3, strides=2 if shape[0] > 16 else 1, activation="relu")(inputs)
    for width in (16, 32):
        around = layers.Conv2D(width, 1, strides=2)(x)
        x = layers.Conv2D(width, 3, strides=2, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        x = layers.Conv2D(width, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(layers.add([x, around]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, _head(outputs)(x))


def mlp(shape: Shape, outputs: int) -> keras.Model:
    """Build a dense network with dropout; images are flattened."""
    model = keras.Sequential([keras.Input(shape=shape)])
    if len(shape) > 1:
        model.add(layers.Flatten())
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dropout(0.2))
    model.add(layers.Dense(32, activation="relu"))
    model.add(_head(outputs))
    return model


def wide_mlp(shape: Shape, outputs: int) -> keras.Model:
    """Build one wide hidden layer."""
    model = keras.Sequential([keras.Input(shape=shape)])
    if len(shape) > 1:
        model.add(layers.Flatten())
    model.add(layers.Dense(128, activation="relu"))
    model.add(_head(outputs))
    return model


def lstm(length: int, outputs: int, vocabulary: int) -> keras.Model:
    """Build Keras' plain LSTM over embeddings."""
    return keras.Sequential(
        [
            keras.Input(shape=(length,), dtype="int32"),
            layers.Embedding(vocabulary, 32),
            layers.LSTM(32),
            _head(outputs),
        ]
    )


def text_conv1d(length: int, outputs: int, vocabulary: int) -> keras.Model:
    """Build Keras' one-dimensional convolution over embeddings."""
    return keras.Sequential(
        [
            keras.Input(shape=(length,), dtype="int32"),
            layers.Embedding(vocabulary, 32),
            layers.Dropout(0.3),
            layers.Conv1D(64, 5, padding="valid", activation="relu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(32, activation="relu"),
            _head(outputs),
        ]
    )


def bag(length: int, outputs: int, vocabulary: int) -> keras.Model:
    """Build the mean of embeddings and a dense layer."""
    return keras.Sequential(
        [
            keras.Input(shape=(length,), dtype="int32"),
            layers.Embedding(vocabulary, 16),
            layers.GlobalAveragePooling1D(),
            layers.Dense(16, activation="relu"),
            _head(outputs),
        ]
    )


def transformer(length: int, outputs: int, vocabulary: int) -> keras.Model:
    """Build one block of attention as in Keras' example, in the functional style."""
    inputs = keras.Input(shape=(length,), dtype="int32")
    x = layers.Embedding(vocabulary, 32)(inputs)
    attention = layers.MultiHeadAttention(num_heads=2, key_dim=16)(x, x)
    x = layers.LayerNormalization(epsilon=1e-6)(x + layers.Dropout(0.1)(attention))
    inside = layers.Dense(32)(layers.Dense(32, activation="relu")(x))
    x = layers.LayerNormalization(epsilon=1e-6)(x + layers.Dropout(0.1)(inside))
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dense(20, activation="relu")(layers.Dropout(0.1)(x))
    return keras.Model(inputs, _head(outputs)(x))


def signal_conv1d(shape: Shape, outputs: int) -> keras.Model:
    """Build one-dimensional convolutions over a series."""
    return keras.Sequential(
        [
            keras.Input(shape=shape),
            layers.Conv1D(16, 5, activation="relu", padding="same"),
            layers.MaxPooling1D(2),
            layers.Conv1D(32, 5, activation="relu", padding="same"),
            layers.GlobalAveragePooling1D(),
            _head(outputs),
        ]
    )


NETWORKS: dict[str, Callable[[Shape, int, int], keras.Model]] = {
    "cnn": lambda shape, outputs, _: cnn(shape, outputs),
    "cnn_bn": lambda shape, outputs, _: cnn_bn(shape, outputs),
    "resnet": lambda shape, outputs, _: resnet(shape, outputs),
    "mlp": lambda shape, outputs, _: mlp(shape, outputs),
    "wide_mlp": lambda shape, outputs, _: wide_mlp(shape, outputs),
    "lstm": lambda shape, outputs, vocabulary: lstm(shape[0], outputs, vocabulary),
    "text_conv1d": lambda shape, outputs, vocabulary: text_conv1d(shape[0], outputs, vocabulary),
    "bag": lambda shape, outputs, vocabulary: bag(shape[0], outputs, vocabulary),
    "transformer": lambda shape, outputs, vocabulary: transformer(shape[0], outputs, vocabulary),
    "conv1d": lambda shape, outputs, _: signal_conv1d(shape, outputs),
}
"""Builds each network for the shape of an input, a number of outputs and a vocabulary."""
