"""Answers of Keras 3 models, on any backend, to inputs."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.features.input_spec import InputSpec
from accuracy_from_weights.features.probes.answers import Batch, as_vectors
from accuracy_from_weights.features.probes.training_range import Moments, expected_range
from accuracy_from_weights.features.probes.undisturbed import preserved_random_states

_AT_ONCE = 1 << 20


def answers_of_model(
    model: Any,
    spec: InputSpec,
    batches: Iterable[Batch],
    name: str | None = None,
    fit_range: bool = False,
) -> NDArray[np.generic]:
    """Run a model without state, so that what a call would write to variables is dropped.

    Parameters
    ----------
    model : keras.Model
    spec, batches, name, fit_range
        See `torch.answers_of_module`. With a name, the model is called with a dict.

    Returns
    -------
    ndarray of shape (n_inputs, n_outputs), float32

    Raises
    ------
    UnsupportedModelError
        When the model is not built, does not take such inputs, or does not answer each with one
        vector.
    """
    import keras

    at_once = max(_AT_ONCE // math.prod(spec.shape), 1)
    trained = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]
    outputs = []
    with _undisturbed():
        for inputs, beside in batches:
            if fit_range:
                scale, offset = expected_range(lambda x: _first_moments(model, x), inputs)
                if (scale, offset) != (1.0, 0.0):
                    inputs = (scale * inputs + offset).astype(np.float32)
            for start in range(0, len(inputs), at_once):
                part = slice(start, start + at_once)
                x = keras.ops.convert_to_tensor(inputs[part])
                if name is not None:
                    x = {name: x} | {
                        key: keras.ops.convert_to_tensor(array[part])
                        for key, array in beside.items()
                    }
                try:
                    answers, _ = model.stateless_call(trained, others, x, training=False)
                    if isinstance(answers, tuple | list):
                        answers = answers[0]
                    elif isinstance(answers, dict):
                        answers = answers.get("logits", next(iter(answers.values())))
                    answers = keras.ops.convert_to_numpy(keras.ops.cast(answers, "float32"))
                except Exception as error:
                    raise UnsupportedModelError(
                        f"{model.name} does not take {spec.kind} inputs of shape {spec.shape} as "
                        f"its one argument ({type(error).__name__}); pass the input_shape that it "
                        "takes, without the batch axis."
                    ) from error
                outputs.append(as_vectors(answers, len(inputs[part]), model.name))
    return np.concatenate(outputs)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    import keras

    with contextlib.ExitStack() as stack:
        stack.enter_context(preserved_random_states())
        if keras.backend.backend() == "torch":
            torch = sys.modules["torch"]
            stack.enter_context(torch.no_grad())
            stack.enter_context(torch.random.fork_rng())
        yield


def _first_moments(model: Any, x: NDArray[Any]) -> Moments | None:
    """Run a model up to its first batch normalisation; None where that is not known to be."""
    import keras

    layers = getattr(model, "layers", [])
    layer = next((one for one in layers if type(one).__name__ == "BatchNormalization"), None)
    if layer is None or not getattr(model, "inputs", None):
        return None
    try:
        before = keras.Model(model.inputs, layer.input)(keras.ops.convert_to_tensor(x))
        axis = layer.axis % len(before.shape)
        around = [k for k in range(len(before.shape)) if k != axis]
        found = keras.ops.moments(before, around)
    except Exception:  # noqa: BLE001 - a layer that is called twice, or inside another model
        return None
    seen = (*found, layer.moving_mean, layer.moving_variance)
    return Moments(*(np.asarray(keras.ops.convert_to_numpy(m), np.float64) for m in seen))
