"""Probes find what a network takes, and leave it as it was."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.features.input_spec import InputSpec
from accuracy_from_weights.features.probes import PROBE_NAMES, input_spec, probe
from tests.features.probes.asked_modules import (
    LanguageModel,
    SignalGRU,
    TokenLSTM,
    TokenTransformer,
    flattened_tokens,
    image_cnn,
    signal_cnn,
    table_mlp,
)

SPECS: list[tuple[Callable[[], nn.Module], InputSpec]] = [
    (TokenLSTM, InputSpec("tokens", (32,), 40)),
    (TokenTransformer, InputSpec("tokens", (20,), 40)),
    (flattened_tokens, InputSpec("tokens", (15,), 30)),
    (lambda: nn.Sequential(nn.EmbeddingBag(9, 4), nn.Linear(4, 2)), InputSpec("tokens", (32,), 9)),
    (SignalGRU, InputSpec("signal", (64, 5), channels_last=True)),
    (signal_cnn, InputSpec("signal", (2, 64))),
    (table_mlp, InputSpec("table", (12,))),
    (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 3)), InputSpec("image", (784,))),
]


@pytest.mark.parametrize(("make", "spec"), SPECS)
def test_what_a_module_takes_is_found_from_its_first_layer(
    make: Callable[[], nn.Module], spec: InputSpec
) -> None:
    torch.manual_seed(0)
    module = make()
    assert input_spec(module) == spec
    numbers = dict(zip(PROBE_NAMES, probe(module), strict=True))
    assert np.isfinite([*numbers.values()]).all()
    assert numbers["all.varied"] > 0


def test_the_shape_tells_what_the_first_layer_leaves_open() -> None:
    assert input_spec(image_cnn(), (3, 16, 16)) == InputSpec("image", (3, 16, 16))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 3))
    assert input_spec(flat, (28, 28)) == InputSpec("image", (28, 28))
    assert input_spec(TokenLSTM(), (9,)).shape == (9,)
    with pytest.raises(UnsupportedModelError, match="`input_shape`"):
        probe(image_cnn())


def test_a_batch_tells_shape_and_range() -> None:
    pixels = np.random.default_rng(0).uniform(0, 1, (32, 3, 8, 8))
    spec = input_spec(image_cnn(), batch=pixels)
    assert spec.shape == (3, 8, 8)
    assert spec.span == pytest.approx((0, 1), abs=0.02)
    columns = np.random.default_rng(0).normal(size=(64, 100))
    assert input_spec(nn.Linear(100, 2), batch=columns).kind == "table"


class WithLabels(nn.Linear):
    """Asks for labels, as models of a Trainer do."""

    def __init__(self) -> None:
        super().__init__(12, 3)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(super().forward(x), labels)


@pytest.mark.parametrize(
    ("module", "shape", "match"),
    [
        (LanguageModel(), None, r"LanguageModel is no classifier"),
        (nn.Sequential(nn.Conv2d(1, 4, 3)), (1, 8, 8), "no classifier"),
        (nn.Conv3d(1, 4, 3), None, "Conv3d"),
        (table_mlp(), (13,), "does not take table inputs"),
        (nn.LazyLinear(3), (4,), "run it once"),
        (WithLabels(), (12,), "such as labels=None"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    module: nn.Module, shape: tuple[int, ...] | None, match: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=match):
        probe(module, shape)


@pytest.mark.parametrize("make", [TokenTransformer, signal_cnn, image_cnn])
def test_training_goes_the_same_way_with_and_without_probes(
    make: Callable[[], nn.Module],
) -> None:
    shape = {TokenTransformer: None, signal_cnn: None, image_cnn: (3, 8, 8)}[make]
    results = []
    for asks in (False, True):
        torch.manual_seed(0)
        module = make()
        seen: list[int] = []
        module.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        draw = torch.Generator().manual_seed(1)
        for _ in range(3):
            x = {
                TokenTransformer: torch.randint(0, 40, (8, 20), generator=draw),
                signal_cnn: torch.randn(8, 2, 30, generator=draw),
                image_cnn: torch.randn(8, 3, 8, 8, generator=draw),
            }[make]
            optimizer.zero_grad()
            loss = module(x).square().sum()
            if asks:
                probe(module, shape)
            loss.backward()
            optimizer.step()
        results.append((module.state_dict(), torch.get_rng_state(), random.random(), len(seen)))
        random.seed(0)
    for name, tensor in results[0][0].items():
        assert torch.equal(tensor, results[1][0][name]), name
    assert torch.equal(results[0][1], results[1][1])
    assert results[0][3] == results[1][3]


def trained_on(low: float, high: float) -> nn.Module:
    """A batch-normalised CNN whose running statistics stem from pixels in a range."""
    torch.manual_seed(0)
    module = image_cnn().train()
    draw = torch.Generator().manual_seed(2)
    for _ in range(80):
        module(low + (high - low) * torch.rand(32, 3, 8, 8, generator=draw))
    return module.eval()


def test_probes_come_in_the_range_that_running_statistics_stem_from() -> None:
    """The weights are the same: answers would differ by the range, and a little by the biases."""
    usual, pixels, bytes_ = (
        probe(trained_on(*span), (3, 8, 8)) for span in ((-1, 1), (0, 1), (0, 255))
    )
    np.testing.assert_allclose(pixels, usual, atol=0.15)
    np.testing.assert_allclose(bytes_, usual, atol=0.5)
    told = probe(trained_on(0, 255), InputSpec("image", (3, 8, 8), span=(-1, 1)))
    assert np.abs(told - usual).max() > 1


def test_inputs_of_large_images_are_interpolated() -> None:
    module = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * 18 * 18, 2))
    assert np.isfinite(probe(module, (3, 144, 144))).all()


@pytest.mark.parametrize(("width", "at_once"), [(8, 1 << 16), (1200, 1 << 20)])
def test_a_small_network_is_asked_about_fewer_inputs_at_a_time(width: int, at_once: int) -> None:
    """So that what it computes of them stays in a processor's cache."""
    seen: list[int] = []

    class Asked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3)
            self.last = nn.Linear(width, width // 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.numel())
            return self.last(self.first(x).mean((1, 2, 3))[:, None].expand(-1, width))

    probe(Asked(), (3, 40, 40))
    assert at_once / 2 < max(seen) <= at_once
