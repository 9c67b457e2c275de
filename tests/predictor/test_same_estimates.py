"""The shipped predictors' estimates of twenty networks of ten kinds stay what they were.

A change of structure must not change a number. When the predictors are fitted anew, write the
new estimates with ``python tests/predictor/test_same_estimates.py``.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from accuracy_from_weights import load_predictor
from tests.weights import architectures

EXPECTED = Path(__file__).with_name("same_estimates.json")
LOG = {"accuracy": 0.8, "loss": 0.6, "samples": 5000}


def paper_cnn() -> nn.Module:
    """The network of the Small CNN Zoo."""
    layers: list[nn.Module] = []
    for channels in (1, 16, 16):
        layers += [nn.Conv2d(channels, 16, 3, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 5)
    )


def normalised_cnn() -> nn.Module:
    layers: list[nn.Module] = []
    for inside, outside in ((3, 12), (12, 24)):
        layers += [nn.Conv2d(inside, outside, 3), nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 7))


def separable_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, groups=16),
        nn.Conv2d(16, 32, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...] | None]] = {
    "paper cnn": (paper_cnn, (1, 28, 28)),
    "mlp": (mlp, (64,)),
    "normalised cnn": (normalised_cnn, (3, 16, 16)),
    "separable cnn": (separable_cnn, (3, 16, 16)),
    "residual": (architectures.ResNet, None),
    "pre-activation residual": (architectures.PreActivationResNet, None),
    "densely connected": (architectures.DenseNet, None),
    "vision transformer": (architectures.VisionTransformer, None),
    "language model": (architectures.Gpt, None),
    "llama": (architectures.Llama, None),
}


def network(kind: str, seed: int) -> nn.Module:
    """Return a network whose weights come from numpy, scaled as trained ones are."""
    module = KINDS[kind][0]().eval()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            values = rng.normal(scale=0.1, size=tensor.shape)
            if tensor.ndim > 1:
                values *= 10 * 1.4 / np.sqrt(max(tensor[0].numel(), 1))
            elif "var" in name or name.endswith("weight"):
                values = 1 + 0.3 * np.abs(values) * 10
            tensor.copy_(torch.from_numpy(values))
    return module


def estimates(kind: str, seed: int) -> dict[str, list[float | str]]:
    module, shape = network(kind, seed), KINDS[kind][1]
    asked = {"weights": {}}
    if shape is not None:
        asked["weights+probes"] = {"input_shape": shape}
        asked["weights+probes+log"] = {"input_shape": shape, "log": LOG}
        rng = np.random.default_rng(seed)
        sample = rng.random((60, *shape), np.float32), rng.integers(5, size=60)
        asked["weights+probes+log+sample"] = {**asked["weights+probes+log"], "sample": sample}
    found: dict[str, list[float | str]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for features, arguments in asked.items():
            e = load_predictor(features=features).estimate(module, **arguments)
            found[features] = [e.accuracy, e.low, e.high, e.family_p_value, e.condition]
    return found


CASES = [(kind, seed) for kind in KINDS for seed in (0, 1)]


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_estimates_are_what_they_were(kind: str, seed: int) -> None:
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))[f"{kind} {seed}"]
    found = estimates(kind, seed)
    assert found.keys() == expected.keys()
    for features, numbers in expected.items():
        assert found[features][:-1] == pytest.approx(numbers[:-1], abs=1e-6), features
        assert found[features][-1] == numbers[-1]


if __name__ == "__main__":
    every = {f"{kind} {seed}": estimates(kind, seed) for kind, seed in CASES}
    EXPECTED.write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")
