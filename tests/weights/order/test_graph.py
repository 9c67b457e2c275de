"""The graph of a live module: what runs after what, found without disturbing anything."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from accuracy_from_weights.weights import read_weights
from accuracy_from_weights.weights.order.graph import operation_of
from accuracy_from_weights.weights.order.torch_graph import graph_of_module
from tests.weights.architectures import conv


class Shuffled(nn.Module):
    """Registers its layers in another order than it runs them; all are of one width."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.middle_weight = nn.Parameter(torch.rand(6, 6))
        self.first = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x.view(x.size(0), -1)))
        x = nn.functional.linear(nn.functional.dropout(x, 0.5, self.training), self.middle_weight)
        return self.last(torch.relu(self.second(x)))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3)
        self.bn, self.conv = nn.BatchNorm2d(6), conv(6, 6, 1)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.fc((x + self.conv(torch.relu(self.bn(x)))).mean(dim=(2, 3)))


class Disturbing(nn.Module):
    """Counts, remembers, draws and writes in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.register_buffer("steps", torch.zeros(1))
        self.calls, self.seen = 0, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.seen.append(x)
        self.steps += 1
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002  # what users write
        return self.fc(x) + torch.randn_like(x[:, :2])


class Choosy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) if x.sum() > 0 else x


def names(module: nn.Module) -> list[str]:
    return [layer.name for layer in read_weights(module).layers]


def test_layers_are_read_in_the_order_in_which_they_run() -> None:
    module = Shuffled()
    assert names(module) == ["first", "middle_weight", "second", "last"]
    network = read_weights(module)
    assert network.is_chain
    assert network.is_rectified


def test_a_chain_is_known_by_its_graph_only() -> None:
    sequence = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh())
    assert read_weights(sequence).is_chain
    assert read_weights(sequence).is_rectified
    assert not read_weights(nn.Sequential(*sequence, nn.Linear(4, 2))).is_rectified
    for module in (Residual(), nn.LSTM(3, 4), nn.TransformerEncoderLayer(8, 2), Choosy()):
        assert not read_weights(module).is_chain
    assert not read_weights(Shuffled().state_dict()).is_chain


def test_a_layer_that_runs_twice_or_never_makes_no_chain() -> None:
    layer = nn.Linear(4, 4)
    assert not read_weights(nn.Sequential(layer, nn.ReLU(), layer)).is_chain
    module = Shuffled()
    module.unused = nn.Linear(6, 6)
    assert not read_weights(module).is_chain


def test_where_symbols_cannot_pass_the_order_is_that_of_registration() -> None:
    assert graph_of_module(Choosy()) is None
    assert names(Choosy()) == ["fc"]


def test_nothing_is_disturbed() -> None:
    module = Disturbing().train()
    called: list[object] = []
    module.register_forward_hook(lambda *args: called.append(args))
    module.fc.register_forward_pre_hook(lambda *args: called.append(args))
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert graph_of_module(module) is not None
    assert (module.calls, module.seen, called, module.training) == (0, [], [], True)
    assert module.fc.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert torch.equal(states[0], torch.get_rng_state())
    np.testing.assert_array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002
    assert states[2] == random.getstate()


def test_a_change_of_structure_is_noticed_and_no_module_is_kept() -> None:
    import gc
    import weakref

    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    assert read_weights(module).is_rectified
    module[1] = nn.Sequential(nn.Tanh(), nn.Linear(4, 4))
    assert not read_weights(module).is_rectified
    alive = weakref.ref(module)
    del module
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("ReLU", "rectifier"),
        ("relu_", "rectifier"),
        ("re_lu", "rectifier"),
        ("LeakyReLU", "activation"),
        ("leaky_re_lu", "activation"),
        ("log_softmax", "activation"),
        ("AdaptiveAvgPool2d", "pass"),
        ("GlobalAveragePooling2D", "pass"),
        ("SpatialDropout2D", "pass"),
        ("add", "unknown"),
        ("cat", "unknown"),
        ("my_relu_block", "unknown"),
    ],
)
def test_operations_are_known_by_name(name: str, operation: str) -> None:
    assert operation_of(name) == operation
