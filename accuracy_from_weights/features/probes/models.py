"""Probe a model of any framework that the user's code has imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.features.probes.answers import logits_of, summarise


def probe(model: Any, input_shape: Sequence[int] | None = None) -> NDArray[np.float32]:
    """Feed a model fixed synthetic inputs and summarise its answers.

    Nothing about the model changes: not its mode, weights, running statistics, gradients, random
    state or device. Dropout is off and normalisations use their running statistics. Forward hooks
    that the user has put on a PyTorch module do not fire; those of PyTorch itself do, since
    weight normalisation and pruning are made of them.

    Parameters
    ----------
    model : torch.nn.Module or keras.Model
        A classifier of images, signals or vectors, on any device and any Keras backend.
    input_shape : sequence of int, optional
        Shape of one input, without the batch axis, as the model takes it: (channels, height,
        width) for PyTorch, mostly (height, width, channels) for Keras. Needed for PyTorch; a Keras
        model that knows its own needs none.

    Returns
    -------
    ndarray of shape (len(PROBE_NAMES),), float32
        NaN throughout when an answer is not finite.

    Raises
    ------
    UnsupportedModelError
        When the object is no such model, its input shape is not known, it does not take such
        inputs, or it does not answer each with one vector.
    """
    shape = None if input_shape is None else tuple(int(length) for length in input_shape)
    # Keras comes first: on its torch backend a Keras model is a PyTorch module as well.
    if _is_instance(model, "keras", "Layer"):
        from accuracy_from_weights.features.probes.keras import answer_with_keras

        outputs = answer_with_keras(model, shape)
    elif _is_instance(model, "torch.nn", "Module"):
        from accuracy_from_weights.features.probes.torch import answer_with_torch

        outputs = answer_with_torch(model, shape)
    else:
        raise UnsupportedModelError(
            "Expected a torch.nn.Module or a keras.Model, which can be given inputs. "
            f"Received: an object of type {type(model).__name__}; weights alone do not answer."
        )
    logits, nudged = np.split(logits_of(outputs), 2)
    return summarise(logits[None], nudged[None])[0]


def _is_instance(source: object, module: str, name: str) -> bool:
    base = getattr(sys.modules.get(module), name, None)
    return isinstance(base, type) and isinstance(source, base)
