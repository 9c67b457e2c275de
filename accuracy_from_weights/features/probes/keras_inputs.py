"""What a Keras model takes as its input, told by its first layer and its declared inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.features.input_spec import USUAL_STEPS, USUAL_TOKENS, InputSpec

# A first layer that multiplies by less than this takes pixels from 0 to 255.
_SCALE_OF_PIXELS = 0.1
_PIXELS = (0.0, 255.0)
_OF_STEPS = (
    "LSTM", "GRU", "SimpleRNN", "Bidirectional", "RNN", "Conv1D", "SeparableConv1D",
    "MultiHeadAttention",
)  # fmt: skip


def input_spec_of_model(model: Any, shape: tuple[int, ...] | None) -> InputSpec:
    """Find out what a model takes: images, rows of a table, signals or tokens.

    Parameters
    ----------
    model : keras.Model
    shape : tuple of int or None
        Of one input, as the model takes it; None asks the model.

    Raises
    ------
    UnsupportedModelError
        When the model is not built, has several inputs, does not know their shape, or takes texts.
    """
    if not model.built:
        raise UnsupportedModelError(
            f"{model.name} is not built and has no weights yet; call it once first."
        )
    first = _first_layer(model)
    declared = _declared(model)
    dtype = "float32" if declared is None else str(declared.dtype)
    if dtype == "string":
        raise UnsupportedModelError(
            f"{model.name} takes texts; pass the part of it that takes the tokens."
        )
    kind = type(first).__name__
    if shape is None:
        shape = _own_shape(model, declared, kind)
    if kind == "Embedding" or _embeds(model, first):
        embedding = first if kind == "Embedding" else _embeds(model, first)
        return InputSpec("tokens", shape, int(embedding.input_dim))
    is_pixels = kind == "Rescaling" and abs(np.max(first.scale)) < _SCALE_OF_PIXELS
    of_steps = kind in _OF_STEPS or any(
        type(layer).__name__ in _OF_STEPS for layer in model._flatten_layers()
    )
    return InputSpec.of_shape(
        shape,
        channels_last=_is_channels_last(model),
        plain_axes=not of_steps,
        span=_PIXELS if is_pixels else None,
    )


def _declared(model: Any) -> Any:
    inputs = getattr(model, "inputs", None)
    if inputs and len(inputs) > 1:
        raise UnsupportedModelError(
            f"{model.name} has {len(inputs)} inputs, and only models with one can be asked; use a "
            "predictor with features='weights'."
        )
    return inputs[0] if inputs else None


def _own_shape(model: Any, declared: Any, kind: str) -> tuple[int, ...]:
    shape = None if declared is None else tuple(declared.shape[1:])
    if shape is not None and len(shape) == 1 and shape[0] is None:
        shape = (USUAL_TOKENS,)
    if shape is not None and len(shape) == 2 and shape[0] is None and shape[1] is not None:
        shape = (USUAL_STEPS, shape[1])
    if shape is None and kind == "Embedding":
        shape = (USUAL_TOKENS,)
    if shape is None or None in shape:
        raise UnsupportedModelError(
            f"{model.name} does not tell the shape of its inputs, {shape}; pass `input_shape`, "
            "that of one input without the batch axis, such as input_shape=(28, 28, 1)."
        )
    return shape


def _first_layer(model: Any) -> Any:
    layers = getattr(model, "layers", None) or [model]
    first = next((layer for layer in layers if type(layer).__name__ != "InputLayer"), model)
    return first if first is model or not getattr(first, "layers", None) else _first_layer(first)


def _embeds(model: Any, first: Any) -> Any:
    """Return the embedding of tokens inside a first layer of the user's own, or None.

    Of several, that of positions has fewer rows than that of tokens.
    """
    inner = [
        layer
        for layer in getattr(first, "_flatten_layers", list)()
        if type(layer).__name__ == "Embedding"
    ]
    return max(inner, key=lambda layer: layer.input_dim, default=None)


def _is_channels_last(model: Any) -> bool:
    import keras

    for layer in model._flatten_layers():
        if getattr(layer, "data_format", None) in ("channels_first", "channels_last"):
            return bool(layer.data_format == "channels_last")
    return bool(keras.config.image_data_format() == "channels_last")
