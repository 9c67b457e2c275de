"""Rebuild a zoo's networks as PyTorch modules, run them, and summarise their answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from accuracy_from_weights.features.input_spec import InputSpec
from accuracy_from_weights.features.probes.answers import PROBE_NAMES, Batch, logits_of, summarise
from accuracy_from_weights.features.probes.synthetic_inputs import synthetic_inputs
from accuracy_from_weights.features.probes.torch import answers_of_module
from accuracy_from_weights.features.training_sample import (
    SAMPLE_NAMES,
    SMALLEST_SAMPLE,
    TrainingSample,
    summarise_answers,
)
from accuracy_from_weights.zoo.rebuilding.stored_networks import RunnableNetworks
from accuracy_from_weights.zoo.rebuilding.torch_modules import PlainModule

# What a zoo does not keep and an evaluation does not need.
_NOT_KEPT = "num_batches_tracked"


def probe_networks(networks: RunnableNetworks) -> NDArray[np.float32]:
    """Return the probe features of k networks: (k, len(PROBE_NAMES)), float32.

    NaN throughout where an answer is not finite, or the tensors are not those of the architecture.
    """
    spec = _spec(networks)
    inputs = np.concatenate(synthetic_inputs(spec))
    outputs = _outputs(networks, spec, [inputs], fit_range=spec.kind != "tokens")
    answers = [logits_of(of_one) for of_one in outputs]
    if not answers:
        return np.full((len(networks.rows), len(PROBE_NAMES)), np.nan, np.float32)
    return summarise(*np.split(np.stack(answers), 2, axis=1))


def sample_networks(
    networks: RunnableNetworks, x: NDArray[np.generic], y: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return features of how k networks answer examples they were trained on.

    Inputs are (n, *networks.form.shape), classes (n,) from 0 on; at most 256 examples are used. The
    features are (k, len(SAMPLE_NAMES)), float32: NaN as for `probe_networks`, and throughout where
    there are fewer than 16 examples.
    """
    numbers = np.full((len(networks.rows), len(SAMPLE_NAMES)), np.nan, np.float32)
    if len(y) < SMALLEST_SAMPLE:
        return numbers
    sample = TrainingSample(x, y, _spec(networks))
    inputs = [variant for _, variant in sample.variants()]
    for k, outputs in enumerate(_outputs(networks, sample.spec, inputs, False)):
        numbers[k] = summarise_answers(outputs, sample)
    return numbers


def _spec(networks: RunnableNetworks) -> InputSpec:
    form = networks.form
    return InputSpec(form.kind, form.shape, form.vocabulary or None)


def _outputs(
    networks: RunnableNetworks, spec: InputSpec, inputs: list[NDArray[Any]], fit_range: bool
) -> Iterator[NDArray[np.generic]]:
    """Yield each network's outputs; nothing where the tensors do not fit the architecture."""
    module = _build(networks)
    if module is None:
        return
    parameters = module.state_dict()
    module.only_evaluate()
    batches: list[Batch] = [(part, {}) for part in inputs]
    for row in range(len(networks.rows)):
        for name, tensor in networks.tensors.items():
            parameters[name].copy_(torch.from_numpy(tensor[row]))
        yield answers_of_module(module, spec, batches, fit_range=fit_range)


def _build(networks: RunnableNetworks) -> PlainModule | None:
    """Return a module of the networks' architecture; None where their tensors do not fit it."""
    tensors = networks.tensors
    if "head.weight" not in tensors:
        return None
    n_classes = tensors["head.weight"].shape[1]
    # The initial weights that PyTorch draws are overwritten; nothing else may notice the draw.
    with torch.random.fork_rng(devices=[]):
        module = PlainModule(networks.architecture, networks.form, n_classes)
    wanted = {
        name: tuple(value.shape)
        for name, value in module.state_dict().items()
        if not name.endswith(_NOT_KEPT)
    }
    if wanted != {name: values.shape[1:] for name, values in tensors.items()}:
        return None
    # PyTorch pools images on a processor several times faster with their channels last.
    return module.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # PyTorch types no such call
