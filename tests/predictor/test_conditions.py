"""Conditions of networks: named where they are certain, and nowhere else."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from accuracy_from_weights import load_predictor, read_weights

Data = tuple[torch.Tensor, torch.Tensor]


def condition(network: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_predictor().estimate(network).condition


@pytest.fixture(scope="module")
def digits() -> Data:
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


def trained(module: nn.Module, data: Data, n_epochs: int, rate: float = 1e-3) -> float:
    """Train on the first 1,200 digits and return the accuracy on the others."""
    inputs, labels = data
    optimiser = torch.optim.Adam(module.parameters(), rate)
    for _ in range(n_epochs):
        for batch in torch.randperm(1200).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(module.train()(inputs[batch]), labels[batch]).backward()
            optimiser.step()
    with torch.no_grad():
        answers = module.eval()(inputs[1200:]).argmax(dim=1)
    return (answers == labels[1200:]).double().mean().item()


class Residual(nn.Module):
    """Pre-normalised residual blocks, as many as make a chain of them collapse."""

    def __init__(self, n_blocks: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(64, 32), nn.Linear(32, 10)
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(n_blocks))
        self.up = nn.ModuleList(nn.Linear(32, 64) for _ in range(n_blocks))
        self.down = nn.ModuleList(nn.Linear(64, 32) for _ in range(n_blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for norm, up, down in zip(self.norms, self.up, self.down, strict=True):
            x = x + down(torch.relu(up(norm(x))))
        return self.head(x)


def test_a_sound_residual_network_is_sound(digits: Data) -> None:
    torch.manual_seed(0)
    module = Residual(10)
    assert trained(module, digits, 8) > 0.9
    assert condition(module) == "ok"
    assert condition(module.state_dict()) == "ok"
    names = [
        [layer.name for layer in read_weights(m).layers] for m in (module, module.state_dict())
    ]
    assert names[0] == names[1], "the head is registered second and runs last"


class NormalisedAfter(nn.Module):
    """Convolution, rectifier, normalisation, pooling: the order of torchcrepe's networks."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 32, 8, 8, 16)
        for i in range(4):
            setattr(self, f"conv{i + 1}", nn.Conv2d(widths[i], widths[i + 1], 3, padding=1))
            setattr(self, f"conv{i + 1}_BN", nn.BatchNorm2d(widths[i + 1]))
        self.classifier = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.view(-1, 1, 8, 8)
        for i in range(4):
            x = torch.relu(getattr(self, f"conv{i + 1}")(x))
            x = getattr(self, f"conv{i + 1}_BN")(x)
        return self.classifier(x.mean(dim=(2, 3)))


def test_norms_after_the_activation_kill_nothing(digits: Data) -> None:
    torch.manual_seed(0)
    module = NormalisedAfter()
    assert trained(module, digits, 6, 3e-3) > 0.8
    assert condition(module) == "ok"
    assert condition(module.state_dict()) == "ok"


def chain(activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, 32), activation, nn.Linear(32, 32), activation, nn.Linear(32, 10)
    )


def test_dead_neurons_are_dead_in_a_chain_of_rectifiers_only(digits: Data) -> None:
    for activation, expected in ((nn.ReLU(), "dead"), (nn.GELU(), "ok")):
        module = chain(activation)
        trained(module, digits, 1)
        with torch.no_grad():
            module[2].bias -= 20
            module[4].bias.zero_()
        assert condition(module) == expected
    assert condition(module.state_dict()) == "ok"


def test_one_answer_is_told_of_a_chain(digits: Data) -> None:
    module = chain(nn.ReLU())
    trained(module, digits, 1)
    with torch.no_grad():
        module[4].bias[3] += 100
    assert condition(module) == "collapsed"
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32, activation="tanh")])
    model.add(keras.layers.Dense(10))
    model.layers[0].bias.assign(torch.randn(32) / 10)
    assert condition(model) == "ok"
    model.layers[1].bias.assign(100 * torch.eye(10)[3])
    assert condition(model) == "collapsed"
    # The same numbers, with a way around: what the sum gives, the weights do not tell.
    inputs = keras.Input((10,))
    outputs = keras.layers.Add()([inputs, model.layers[1](keras.layers.Dense(32)(inputs))])
    assert condition(keras.Model(inputs, outputs)) != "collapsed"


def test_fresh_weights_are_untrained_whatever_the_graph() -> None:
    torch.manual_seed(0)
    assert condition(chain(nn.ReLU())) == "untrained"
    assert condition(Residual(2).state_dict()) == "untrained"
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
    assert condition(model) == "untrained"


def test_a_network_that_diverged_is_named_first() -> None:
    module = chain(nn.ReLU())
    with torch.no_grad():
        module[0].weight[0, 0] = torch.nan
    assert condition(module) == "diverged"
