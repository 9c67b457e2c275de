"""What the shipped predictors say of a CNN with batch normalisation, and of its twin without."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from accuracy_from_weights import load_predictor
from accuracy_from_weights.predictor.estimate import Estimate

N_TRAIN = 1200


@dataclass(frozen=True)
class Trained:
    """A network with its true accuracy, and what an estimate may be told of its training."""

    network: nn.Sequential
    accuracy: float
    log: dict[str, float]
    sample: tuple[np.ndarray, np.ndarray]

    def estimate(self, features: str) -> Estimate:
        predictor = load_predictor(features=features)
        return predictor.estimate(
            self.network,
            input_shape=(1, 16, 16),
            log=self.log if "log" in features else None,
            sample=self.sample if "sample" in features else None,
        )


def cnn(normalised: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for taken, given in ((1, 24), (24, 48), (48, 48)):
        norm = [nn.BatchNorm2d(given)] if normalised else []
        pool = [nn.MaxPool2d(2)] if taken != given else []
        layers += [nn.Conv2d(taken, given, 3, padding=1), *norm, nn.ReLU(), *pool]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10))


def trained(normalised: bool, seed: int) -> Trained:
    """Train on digits of 16x16 pixels between -1 and 1, for four epochs."""
    torch.manual_seed(seed)
    digits = load_digits()
    # The file is sorted by writer: shuffled, training and test images are of the same ones.
    order = torch.randperm(len(digits.target))
    images = torch.tensor(digits.images[:, None] / 8 - 1, dtype=torch.float32)[order]
    images = nn.functional.interpolate(images, size=(16, 16))
    labels = torch.tensor(digits.target)[order]
    network = cnn(normalised)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(4):
        n_right = loss = 0.0
        for batch in torch.randperm(N_TRAIN).split(32):
            answers = network.train()(images[batch])
            batch_loss = nn.functional.cross_entropy(answers, labels[batch])
            optimiser.zero_grad()
            batch_loss.backward()
            optimiser.step()
            n_right += (answers.argmax(dim=1) == labels[batch]).sum().item()
            loss += batch_loss.item() * len(batch)
    with torch.no_grad():
        right = network.eval()(images[N_TRAIN:]).argmax(dim=1) == labels[N_TRAIN:]
    return Trained(
        network,
        right.double().mean().item(),
        {"accuracy": n_right / N_TRAIN, "loss": loss / N_TRAIN, "samples": N_TRAIN},
        (images[:256].numpy(), labels[:256].numpy()),
    )


Pairs = list[tuple[Trained, Trained]]


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Train three networks with batch normalisation, each with a twin without."""
    return [(trained(True, seed), trained(False, seed)) for seed in range(3)]


def test_with_a_training_sample_both_are_estimated_well(pairs: Pairs) -> None:
    for twin in itertools.chain(*pairs):
        estimate = twin.estimate("weights+probes+log+sample")
        assert estimate.in_family
        assert estimate.low <= twin.accuracy <= estimate.high
        assert estimate.accuracy == pytest.approx(twin.accuracy, abs=0.1)


@pytest.mark.parametrize("features", ["weights+probes", "weights+probes+log"])
def test_normalisation_does_not_pull_an_estimate_far_down(features: str, pairs: Pairs) -> None:
    below = []
    for pair in pairs:
        normalised, plain = (twin.estimate(features) for twin in pair)
        below.append(plain.accuracy - normalised.accuracy)
        for estimate, twin in zip((normalised, plain), pair, strict=True):
            assert estimate.in_family
            assert estimate.low <= twin.accuracy <= estimate.high
    # A single pair differs by chance by as much.
    assert np.mean(below) < 0.1
