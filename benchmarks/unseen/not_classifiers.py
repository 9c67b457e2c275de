"""Networks that a predictor ought to refuse, or to call outside its family, and its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor, nn

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.features.describing import describe_network
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
from benchmarks.networks import resnet18, resnet50
from benchmarks.quality_study.pages import number
from benchmarks.unseen.torch_networks import NETWORKS

_STEPS = 400


@dataclass(frozen=True)
class Asked:
    """A network with the shape of its inputs, None where it knows it."""

    name: str
    model: Any
    shape: tuple[int, ...] | None


def not_classifiers() -> Iterator[Asked]:
    """Yield networks that are no trained classifiers, most of them trained to do something else."""
    torch.manual_seed(0)
    x, y = load_diabetes(return_X_y=True)
    rows = torch.from_numpy(((x - x.mean(0)) / x.std(0)).astype(np.float32))
    target = torch.from_numpy(((y - y.mean()) / y.std()).astype(np.float32))[:, None]
    model: nn.Module = _dense(10, 64, 32, 1)
    yield Asked("regression, one output", _fit(model, rows, target, nn.MSELoss()), (10,))
    both = torch.cat([target, rows[:, 2:3]], dim=1)
    model = _dense(10, 64, 32, 2)
    yield Asked("regression, two outputs", _fit(model, rows, both, nn.MSELoss()), (10,))

    digits, classes = (torch.from_numpy(part) for part in load_digits(return_X_y=True))
    digits = digits.float() / 16
    model = _dense(64, 32, 8, 32, 64)
    yield Asked("autoencoder", _fit(model, digits, digits, nn.MSELoss()), (64,))
    labels = torch.stack([classes % 2, classes // 5, classes % 3 == 0, classes > 7], dim=1)
    model = _fit(_dense(64, 64, 4), digits, labels.float(), nn.BCEWithLogitsLoss())
    yield Asked("multi-label, four outputs", model, (64,))
    model = _fit(_dense(64, 64, 16), digits, classes, _same_apart)
    yield Asked("embedding, sixteen outputs", model, (64,))
    text = torch.randint(40, (500, 21)).cumsum(dim=1) % 40
    model = _fit(_NextToken(40), text[:, :-1], text[:, 1:], _next_token)
    yield Asked("language model, 40 tokens", model, (20,))

    images = digits.reshape(-1, 1, 8, 8)
    trained = _fit(_cnn(), images, classes, nn.CrossEntropyLoss())
    yield Asked("untrained CNN", _cnn(), (1, 8, 8))
    yield Asked("CNN of random numbers, N(0, 1)", _changed(_cnn(), torch.randn_like), (1, 8, 8))
    yield Asked("CNN of zeros", _changed(_cnn(), torch.zeros_like), (1, 8, 8))
    yield Asked("trained CNN, each weight in another place", _changed(trained, _mixed), (1, 8, 8))
    yield Asked("untrained, 4,096 wide, 17 million weights", _dense(64, 4096, 4096, 10), (64,))
    yield Asked("untrained ResNet-18, 1,000 classes", resnet18(), (3, 64, 64))
    yield Asked("untrained ResNet-50, 1,000 classes", resnet50(), (3, 64, 64))


class _NextToken(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 32)
        self.rnn = nn.GRU(32, 48, batch_first=True)
        self.head = nn.Linear(48, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.embedding(tokens))[0])


def _next_token(answers: Tensor, tokens: Tensor) -> Tensor:
    return nn.functional.cross_entropy(answers.flatten(0, 1), tokens.flatten())


def _same_apart(points: Tensor, classes: Tensor) -> Tensor:
    """Return a loss that pulls points of one class together, and apart from the others."""
    distances = torch.cdist(points, points)
    same = classes[:, None] == classes
    return distances[same].mean() + (2 - distances[~same]).clamp(min=0).mean()


def _dense(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _cnn() -> nn.Module:
    return NETWORKS["lenet"]((1, 8, 8), 10, 0)


def _fit(model: nn.Module, x: Tensor, y: Tensor, loss: Callable[..., Tensor]) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(_STEPS):
        chosen = torch.randint(len(x), (32,))
        optimizer.zero_grad()
        loss(model(x[chosen]), y[chosen]).backward()
        optimizer.step()
    return model


def _changed(model: nn.Module, change: Callable[[Tensor], Tensor]) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(change(parameter))
    return model


def _mixed(parameter: Tensor) -> Tensor:
    return parameter.flatten()[torch.randperm(parameter.numel())].view_as(parameter)


def answers(predictors: Mapping[str, AccuracyPredictor]) -> list[list[str]]:
    """Ask predictors about each of these networks, and return what they say.

    Parameters
    ----------
    predictors : mapping of str to AccuracyPredictor
        Those that read weights, or weights and probes: a network that does not classify has
        neither a training accuracy nor examples with classes.

    Returns
    -------
    list of list of str
        The head of a table, and a line for each network.
    """
    lines = [["network", "refused", *predictors]]
    for asked in not_classifiers():
        cells = [asked.name, "no"]
        try:
            describe_network(asked.model, input_shape=asked.shape)
        except UnsupportedModelError:
            cells[1] = "yes"
        lines.append(cells + [_answer(predictor, asked) for predictor in predictors.values()])
    return lines


def _answer(predictor: AccuracyPredictor, asked: Asked) -> str:
    try:
        row = describe_network(
            asked.model, predictor.features, input_shape=asked.shape, task="multiclass"
        )
    except UnsupportedModelError:
        return "refused whatever the task"
    (said,) = predictor.judge(row)
    where = "inside" if said.in_family else "outside"
    note = "" if said.condition == "ok" else f", {said.condition}"
    ends = f"{number(said.low, 2)} to {number(said.high, 2)}"
    return f"{where}{note}: {number(said.accuracy, 2)} ({ends})"
