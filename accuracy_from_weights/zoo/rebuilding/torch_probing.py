"""Probe the networks of a zoo: rebuild each as a PyTorch module and summarise its answers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from accuracy_from_weights.features.input_spec import InputSpec
from accuracy_from_weights.features.probes.answers import PROBE_NAMES, logits_of, summarise
from accuracy_from_weights.features.probes.inputs import synthetic_inputs
from accuracy_from_weights.features.probes.torch import answers_of_module
from accuracy_from_weights.zoo.rebuilding.stored_networks import RunnableNetworks
from accuracy_from_weights.zoo.rebuilding.torch_modules import PlainModule

# Networks whose answers are summarised at once.
_AT_ONCE = 32
# What a zoo does not keep and an evaluation does not need.
_NOT_KEPT = "num_batches_tracked"


def probe_networks(networks: RunnableNetworks) -> NDArray[np.float32]:
    """Probe networks of one architecture.

    Parameters
    ----------
    networks : RunnableNetworks
        k of them.

    Returns
    -------
    ndarray of shape (k, len(PROBE_NAMES)), float32
        NaN throughout where an answer is not finite, or the tensors are not those of the
        architecture.
    """
    n = len(networks.rows)
    numbers = np.full((n, len(PROBE_NAMES)), np.nan, np.float32)
    module = _build(networks)
    if module is None:
        return numbers
    form = networks.form
    spec = InputSpec(form.kind, form.shape, form.vocabulary or None)
    inputs = np.concatenate(synthetic_inputs(spec))
    fit_range = spec.kind != "tokens"
    parameters = module.state_dict()
    for start in range(0, n, _AT_ONCE):
        rows = range(start, min(start + _AT_ONCE, n))
        answers = []
        for row in rows:
            for name, tensor in networks.tensors.items():
                parameters[name].copy_(torch.from_numpy(tensor[row]))
            outputs = answers_of_module(module, spec, [(inputs, {})], fit_range=fit_range)
            answers.append(logits_of(outputs))
        logits, nudged = np.split(np.stack(answers), 2, axis=1)
        numbers[rows.start : rows.stop] = summarise(logits, nudged)
    return numbers


def _build(networks: RunnableNetworks) -> PlainModule | None:
    """Build the networks' module; None when their tensors are not its own."""
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
    return module.eval()
