"""Stored networks answer as the modules do that they were taken from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from accuracy_from_weights.features.input_spec import InputSpec
from accuracy_from_weights.features.probes import probe
from accuracy_from_weights.features.training_sample import describe_sample, take_sample
from accuracy_from_weights.zoo.rebuilding.stored_networks import RunnableNetworks
from accuracy_from_weights.zoo.rebuilding.torch_modules import PlainModule
from accuracy_from_weights.zoo.rebuilding.torch_probing import probe_networks, sample_networks
from accuracy_from_weights.zoo.recipes.architecture import (
    Architecture,
    InputForm,
    paper_architecture,
)

PAPER = paper_architecture("relu")
POOLED = Architecture(
    widths=(8, 8), strides=(2, 1), pooling="max", normalisation="batch", activation="tanh"
)
RESIDUAL = Architecture(
    kind="resnet", widths=(8, 8), strides=(2, 2), padding="same", pooling="max", activation="silu"
)


@pytest.mark.parametrize(
    ("architecture", "damaged"),
    [(PAPER, False), (PAPER, True), (POOLED, False), (RESIDUAL, False)],
)
def test_probes_and_sample_are_those_of_the_module(
    architecture: Architecture, damaged: bool
) -> None:
    torch.manual_seed(0)
    form = InputForm("image", (1, 16, 16))
    modules = [PlainModule(architecture, form, 4).eval() for _ in range(3)]
    tensors = {
        name: np.stack([module.state_dict()[name].numpy() for module in modules])
        for name in modules[0].state_dict()
        if not name.endswith("num_batches_tracked")
    }
    if damaged:
        tensors["head.weight"] = tensors["head.weight"][:, :, :-1]
    networks = RunnableNetworks(np.arange(3), architecture, form, tensors)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 1, 16, 16)), np.arange(60) % 4
    sample = take_sample(modules[0], x, y, InputSpec("image", (1, 16, 16)))
    probes, answers = probe_networks(networks), sample_networks(networks, x, y)
    if damaged:
        assert np.isnan(probes).all()
        assert np.isnan(answers).all()
        return
    for k, module in enumerate(modules):
        np.testing.assert_allclose(probes[k], probe(module, (1, 16, 16)), atol=1e-5)
        np.testing.assert_allclose(answers[k], describe_sample(module, sample)[0], atol=1e-5)
