"""Answers of Keras 3 models, on any backend, to the synthetic inputs."""

from __future__ import annotations

import contextlib
import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.features.probes.inputs import synthetic_inputs
from accuracy_from_weights.features.probes.undisturbed import preserved_random_states

_AT_ONCE = 1 << 20
# A first layer that multiplies by less than this takes pixels from 0 to 255.
_SCALE_OF_PIXELS = 0.1


def answer_with_keras(model: Any, shape: tuple[int, ...] | None) -> NDArray[np.generic]:
    """Feed a model the synthetic inputs, and after them the changed ones.

    The model is called without state: what the call would write to variables is dropped.

    Parameters
    ----------
    model : keras.Model
    shape : tuple of int or None
        Of one input, as the model takes it; None asks the model.

    Returns
    -------
    ndarray of shape (2 * N_INPUTS, ...)
        Its outputs.

    Raises
    ------
    UnsupportedModelError
        When the model is not built, does not know its input shape, or does not take such inputs.
    """
    import keras

    if not model.built:
        raise UnsupportedModelError(
            f"Expected a model that is built. Received: {model.name}, which has no weights yet; "
            "call it once first."
        )
    first = _first_layer(model)
    _refuse_tokens(model, first)
    if shape is None:
        shape = _own_shape(model)
    inputs = np.concatenate(synthetic_inputs(shape, _is_channels_last(model)))
    if type(first).__name__ == "Rescaling" and abs(np.max(first.scale)) < _SCALE_OF_PIXELS:
        inputs = (inputs + 1.0) * 127.5
    at_once = min(max(_AT_ONCE // math.prod(shape), 1), len(inputs))
    trained = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]
    outputs = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(preserved_random_states())
        if keras.backend.backend() == "torch":
            torch = sys.modules["torch"]
            stack.enter_context(torch.no_grad())
            stack.enter_context(torch.random.fork_rng())
        for start in range(0, len(inputs), at_once):
            x = keras.ops.convert_to_tensor(inputs[start : start + at_once])
            try:
                answers, _ = model.stateless_call(trained, others, x, training=False)
                if isinstance(answers, tuple | list):
                    answers = answers[0]
                elif isinstance(answers, dict):
                    answers = answers.get("logits", next(iter(answers.values())))
                answers = keras.ops.cast(answers, "float32")
            except Exception as error:
                raise UnsupportedModelError(
                    f"Expected a model that takes inputs of shape {shape}, without the batch axis, "
                    f"as its one argument. Received: {model.name}, which raised "
                    f"{type(error).__name__}; pass another input_shape."
                ) from error
            outputs.append(keras.ops.convert_to_numpy(answers))
    return np.concatenate(outputs)


def _own_shape(model: Any) -> tuple[int, ...]:
    inputs = getattr(model, "inputs", None)
    if inputs and len(inputs) > 1:
        raise UnsupportedModelError(
            f"Expected a model with one input. Received: {model.name}, which has {len(inputs)}."
        )
    shape = tuple(inputs[0].shape[1:]) if inputs else None
    if shape is None or None in shape:
        raise UnsupportedModelError(
            "Expected a model that knows the shape of its input. Received: "
            f"{model.name}, with the input shape {shape}; pass input_shape, without the batch "
            "axis, such as (28, 28, 1)."
        )
    return shape


def _first_layer(model: Any) -> Any:
    layers = getattr(model, "layers", None) or [model]
    first = next((layer for layer in layers if type(layer).__name__ != "InputLayer"), model)
    return first if first is model or not getattr(first, "layers", None) else _first_layer(first)


def _refuse_tokens(model: Any, first: Any) -> None:
    inputs = getattr(model, "inputs", None)
    dtype = str(inputs[0].dtype) if inputs else "float32"
    if type(first).__name__ == "Embedding" or not dtype.startswith(("float", "bfloat")):
        raise UnsupportedModelError(
            "Expected a model that takes images, signals or vectors of numbers. Received: "
            f"{model.name}, which takes tokens or other {dtype} inputs; probes cannot ask it."
        )


def _is_channels_last(model: Any) -> bool:
    import keras

    for layer in model._flatten_layers():
        if getattr(layer, "data_format", None) in ("channels_first", "channels_last"):
            return bool(layer.data_format == "channels_last")
    return bool(keras.config.image_data_format() == "channels_last")
