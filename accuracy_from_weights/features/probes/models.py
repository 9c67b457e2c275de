"""Ask a model of any framework that the user's code has imported."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import (
    UnreadableFileError,
    UnsupportedModelError,
    first_line,
)
from accuracy_from_weights.features.input_spec import InputSpec, looks_like_images, on_host, span_of
from accuracy_from_weights.features.probes.answers import logits_of, summarise
from accuracy_from_weights.features.probes.installed_keras import import_keras
from accuracy_from_weights.features.probes.synthetic_inputs import synthetic_inputs


def probe(model: Any, input_shape: Sequence[int] | InputSpec | None = None) -> NDArray[np.float32]:
    """Feed a model fixed synthetic inputs and summarise its answers.

    Nothing about the model changes: not its mode, weights, running statistics, gradients, random
    state or device. Dropout is off and normalisations use their running statistics. Forward hooks
    that the user has put on a PyTorch module do not fire; those of PyTorch itself do, since
    weight normalisation and pruning are made of them.

    Parameters
    ----------
    model : torch.nn.Module or keras.Model
        A classifier of images, signals, rows of tables or tokens, on any device and any Keras
        backend.
    input_shape : sequence of int or InputSpec, optional
        Shape of one input, without the batch axis, as the model takes it: (channels, height,
        width) for PyTorch, mostly (height, width, channels) for Keras. Needed where `input_spec`
        cannot find it in the model.

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
    spec = input_spec(model, input_shape)
    inputs: NDArray[Any] = np.concatenate(synthetic_inputs(spec))
    fit_range = spec.kind != "tokens" and spec.span is None
    outputs = answers_of(model, spec, [(inputs, {})], fit_range=fit_range)
    logits, nudged = np.split(logits_of(outputs), 2)
    return summarise(logits[None], nudged[None])[0]


def runnable(source: Any) -> Any:
    """Return a model that can be called: a ``.keras`` file is loaded, a model stays as it is.

    Keras loads the file in its safe mode, without compiling the model.

    Parameters
    ----------
    source : model or path

    Raises
    ------
    UnsupportedModelError
        When it is another file: it holds weights and no network to run.
    UnreadableFileError
        When Keras cannot load the file.
    MissingDependencyError
        When Keras is not installed.
    """
    if not isinstance(source, str | os.PathLike):
        return source
    if Path(source).suffix.lower() != ".keras":
        raise UnsupportedModelError(
            f"{os.fspath(source)} holds weights and no network that can be run, as a .keras file "
            "does; pass the model itself, or use features='weights'."
        )
    keras = import_keras()
    try:
        return keras.models.load_model(source, compile=False)
    except Exception as error:  # custom layers and damage raise whatever they like
        raise UnreadableFileError(
            f"Keras cannot load {os.fspath(source)} ({first_line(error)}); load the model in "
            "Python and pass it."
        ) from error


def input_spec(
    model: Any,
    input_shape: Sequence[int] | InputSpec | None = None,
    batch: Any = None,
) -> InputSpec:
    """Find out what one input of a model is, from its first layer and what is known besides.

    Parameters
    ----------
    model : torch.nn.Module or keras.Model
    input_shape : sequence of int or InputSpec, optional
        Without the batch axis; a spec is returned as it is.
    batch : array of shape (n, ...), optional
        Inputs that the model was trained on, a tensor of any framework. They tell their shape and
        the range of their numbers.

    Returns
    -------
    InputSpec

    Raises
    ------
    UnsupportedModelError
        When the object is no such model, or does not tell what it takes.

    Examples
    --------
    >>> from torch import nn
    >>> input_spec(nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(80, 2)))
    InputSpec(kind='tokens', shape=(10,), vocabulary=50, channels_last=False, span=None)
    """
    if isinstance(input_shape, InputSpec):
        return input_shape
    if input_shape is None and batch is not None:
        input_shape = tuple(batch.shape[1:])
    shape = None if input_shape is None else tuple(int(length) for length in input_shape)
    if _is_keras(model):
        from accuracy_from_weights.features.probes.keras_inputs import input_spec_of_model

        spec = input_spec_of_model(model, shape)
    else:
        from accuracy_from_weights.features.probes.torch_inputs import input_spec_of_module

        spec = input_spec_of_module(model, shape)
    if batch is None or spec.kind == "tokens":
        return spec
    batch = on_host(batch)
    if spec.kind == "image" and len(spec.shape) == 1 and not looks_like_images(batch):
        spec = dataclasses.replace(spec, kind="table")
    return dataclasses.replace(spec, span=span_of(batch))


def answers_of(
    model: Any,
    spec: InputSpec,
    batches: Iterable[tuple[NDArray[Any], Mapping[str, NDArray[Any]]]],
    name: str | None = None,
    fit_range: bool = False,
) -> NDArray[np.generic]:
    """Run a model in evaluation mode on batches of inputs, such that nothing about it changes.

    See `torch.answers_of_module` for the parameters.
    """
    if _is_keras(model):
        from accuracy_from_weights.features.probes.keras import answers_of_model

        return answers_of_model(model, spec, batches, name, fit_range)
    from accuracy_from_weights.features.probes.torch import answers_of_module

    return answers_of_module(model, spec, batches, name, fit_range)


def _is_keras(model: Any) -> bool:
    """Return whether a model is of Keras, or else of PyTorch; refuse any other."""
    # Keras comes first: on its torch backend a Keras model is a PyTorch module as well.
    if _is_instance(model, "keras", "Layer"):
        return True
    if _is_instance(model, "torch.nn", "Module"):
        return False
    raise UnsupportedModelError(
        f"An object of type {type(model).__name__} cannot be given inputs, for weights alone do "
        "not answer; pass a torch.nn.Module or a keras.Model."
    )


def _is_instance(source: object, module: str, name: str) -> bool:
    base = getattr(sys.modules.get(module), name, None)
    return isinstance(base, type) and isinstance(source, base)
