"""Reading leaves the network, its training and the random state as they were."""

from __future__ import annotations

import random
import subprocess
import sys

import keras
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from accuracy_from_weights.weights import read_weights
from tests.weights.networks import batch_norm_cnn


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)),
        nn.BatchNorm2d(4),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(16, 2),
    )


@pytest.mark.parametrize("training", [True, False])
def test_torch_module_is_as_it_was(training: bool) -> None:
    network = module().train(training)
    network[3].train(not training)
    network[4].weight.requires_grad_(False)
    network(torch.randn(2, 3, 4, 4)).sum().backward()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
    modes = [part.training for part in network.modules()]
    flags = [(p.requires_grad, p.dtype, p.device) for p in network.parameters()]
    versions = [p._version for p in network.parameters()]
    states = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    read_weights(network)
    assert modes == [part.training for part in network.modules()]
    assert flags == [(p.requires_grad, p.dtype, p.device) for p in network.parameters()]
    assert versions == [p._version for p in network.parameters()]
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert str(np.random.get_state()) == states[1]  # noqa: NPY002
    assert random.getstate() == states[2]


def test_training_goes_the_same_way_with_and_without_reading() -> None:
    results = []
    for reads in (False, True):
        network = module()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            if reads:
                read_weights(network)
            optimizer.zero_grad()
            loss = network(torch.randn(4, 3, 4, 4)).square().sum()
            if reads:  # between forward and backward, too
                read_weights(network)
            loss.backward()
            optimizer.step()
        results.append(network.state_dict())
    for name, tensor in results[0].items():
        assert torch.equal(tensor, results[1][name]), name


def test_keras_model_is_as_it_was() -> None:
    model = batch_norm_cnn().keras_model
    model.layers[0].trainable = False
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]
    trainable = [variable.trainable for variable in model.variables]
    state = torch.get_rng_state()
    read_weights(model)
    for variable, values in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), values)
    assert trainable == [variable.trainable for variable in model.variables]
    assert torch.equal(torch.get_rng_state(), state)


def test_arrays_share_memory_and_cannot_be_written_to() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2), nn.BatchNorm1d(2))
    first, second = read_weights(network).layers
    assert np.shares_memory(first.kernel, network[0].weight.detach().numpy())
    for array in (first.kernel, first.bias, second.kernel, second.bias):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    arrays = {"fc.weight": np.ones((3, 2), np.float32)}
    layer = read_weights(arrays).layers[0]
    assert np.shares_memory(layer.kernel, arrays["fc.weight"])
    assert not layer.kernel.flags.writeable
    assert arrays["fc.weight"].flags.writeable


def test_what_was_read_is_returned_as_it_is() -> None:
    network = read_weights({"fc.weight": np.ones((3, 2))})
    assert read_weights(network) is network


def test_no_framework_wakes_for_arrays() -> None:
    code = (
        "import sys, numpy as np\n"
        "from accuracy_from_weights.weights import read_weights\n"
        "network = read_weights({'fc': {'kernel': np.ones((3, 2)), 'bias': np.ones(2)}})\n"
        "assert network.layers[0].kernel.shape == (2, 3)\n"
        "woken = {'torch', 'keras', 'jax', 'tensorflow', 'h5py', 'safetensors'} & {*sys.modules}\n"
        "assert not woken, woken\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
