"""How a network answers to some of its own training examples, as numbers of fixed length."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.input_spec import InputSpec
from accuracy_from_weights.features.probes.models import answers_of, input_spec
from accuracy_from_weights.features.training_sample.answers import (
    SAMPLE_NAMES,
    summarise_answers,
    training_log,
)
from accuracy_from_weights.features.training_sample.sample import (
    SAMPLE_SIZE,
    SMALLEST_SAMPLE,
    TrainingSample,
    balanced_choice,
    inputs_of,
)

__all__ = [
    "SAMPLE_NAMES",
    "SAMPLE_SIZE",
    "SMALLEST_SAMPLE",
    "TrainingSample",
    "balanced_choice",
    "describe_sample",
    "summarise_answers",
    "take_sample",
]


def take_sample(model: Any, x: Any, y: Any, spec: InputSpec | None = None) -> TrainingSample:
    """Choose the examples of a run on which its network is going to be asked.

    Parameters
    ----------
    model : torch.nn.Module or keras.Model
        Tells what its inputs are.
    x : array of shape (n, ...), or mapping of str to such arrays
    y : array of shape (n,)
        Classes from 0 on; see `TrainingSample`.
    spec : InputSpec, optional
        Defaults to what model and inputs tell.

    Returns
    -------
    TrainingSample
        Of at most 256 examples. Make it once a run: what is changed in them is kept.
    """
    if spec is None:
        spec = input_spec(model, batch=inputs_of(x, SAMPLE_SIZE))
    return TrainingSample(x, y, spec)


def describe_sample(
    model: Any, sample: TrainingSample
) -> tuple[NDArray[np.float32], dict[str, float]]:
    """Describe how a model answers to examples that it is trained on.

    The model is asked about 256 of them as they are, mixed in pairs, shifted, blurred, covered,
    made noisy or with less contrast, whatever fits their kind. It is evaluated, dropout off, and
    nothing about it changes, as with `probes.probe`.

    Parameters
    ----------
    model : torch.nn.Module or keras.Model
    sample : TrainingSample

    Returns
    -------
    row : ndarray of shape (len(SAMPLE_NAMES),), float32
        NaN throughout when an answer is not finite.
    log : dict of str to float
        Accuracy and loss on the training data, as `training_log` returns them.

    Raises
    ------
    InvalidArgumentError
        When inputs and classes do not fit each other or the model.
    UnsupportedModelError
        As `probes.probe`.
    """
    batches = ((inputs, sample.beside) for _, inputs in sample.variants())
    outputs = answers_of(model, sample.spec, batches, sample.name)
    return summarise_answers(outputs, sample), training_log(outputs, sample)
