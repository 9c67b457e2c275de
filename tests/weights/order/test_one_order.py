"""One network gives the same features from a model and from each of its files."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from accuracy_from_weights.features.description import describe
from accuracy_from_weights.weights import read_weights
from tests.weights.networks import randomise

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet", "joist")
BEFORE, AFTER = "before", "after"
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: a failing network is small enough, and a search for a smaller one is slow."""


def features(source: Any) -> np.ndarray:
    return describe(read_weights(source))


class Chain(nn.Module):
    """Convolutions, then dense layers, registered in any order.

    Parameters
    ----------
    widths : sequence of int
        Channels of the input and of each convolution.
    dense : sequence of int
        Widths of the dense layers.
    norms : sequence of str or None
        For each convolution: a batch normalisation before or after the activation, or none.
    names : sequence of str
        Of the layers, in the order in which they run.
    order : random.Random
        Shuffles the registration.
    """

    def __init__(
        self,
        widths: list[int],
        dense: list[int],
        norms: list[str | None],
        names: list[str],
        order: random.Random,
    ) -> None:
        super().__init__()
        made: dict[str, nn.Module] = {}
        self.steps: list[tuple[str, str | None]] = []
        for i, norm in enumerate(norms):
            made[names[i]] = nn.Conv2d(widths[i], widths[i + 1], 3, padding=1)
            if norm is not None:
                made[f"{names[i]}_norm"] = nn.BatchNorm2d(widths[i + 1])
            self.steps.append((names[i], norm))
        sizes = [widths[-1], *dense]
        self.dense_names = names[len(norms) :]
        for name, a, b in zip(self.dense_names, sizes, sizes[1:], strict=False):
            made[name] = nn.Linear(a, b)
        for name in order.sample(list(made), len(made)):
            setattr(self, name, made[name])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name, norm in self.steps:
            x = getattr(self, name)(x)
            if norm == BEFORE:
                x = getattr(self, f"{name}_norm")(x)
            x = torch.relu(x)
            if norm == AFTER:
                x = getattr(self, f"{name}_norm")(x)
        x = x.mean(dim=(2, 3)) if self.steps else x[:, :, 0, 0]
        for name in self.dense_names[:-1]:
            x = torch.tanh(getattr(self, name)(x))
        return getattr(self, self.dense_names[-1])(x)


@st.composite
def chains(draw: Any) -> Chain:
    are_numbered = draw(st.booleans())
    n_convs, n_dense = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    # Names without numbers tell nothing: then widths have to, and no two are alike.
    widths = draw(
        st.lists(
            st.integers(12, 40),
            min_size=n_convs + n_dense,
            max_size=n_convs + n_dense,
            unique=not are_numbered,
        )
    )
    norms = draw(
        st.lists(st.sampled_from([None, BEFORE, AFTER]), min_size=n_convs, max_size=n_convs)
    )
    order = random.Random(draw(st.integers(0, 2**32)))
    names = order.sample(WORDS, n_convs + n_dense)
    if are_numbered:
        names = [f"conv{i + 1}" for i in range(n_convs)] + [f"fc{i + 1}" for i in range(n_dense)]
    torch.manual_seed(order.randrange(2**32))
    n_inputs = draw(st.sampled_from([1, 3]))
    module = Chain([n_inputs, *widths[:n_convs]], widths[n_convs:], norms, names, order)
    with torch.no_grad():
        for _ in range(20):
            module.train()(torch.randn(16, n_inputs, 5, 5))
    return module.eval()


@settings(deadline=None, max_examples=40, phases=PHASES)
@given(chains())
def test_a_module_and_its_files_give_the_same_features(module: Chain) -> None:
    network = read_weights(module)
    assert network.is_chain
    kernels = [name for name, _ in module.steps] + module.dense_names
    assert [layer.name for layer in network.layers] == kernels
    expected = describe(network)
    with TemporaryDirectory() as folder:
        save_file(module.state_dict(), Path(folder, "model.safetensors"))
        torch.save(module.state_dict(), Path(folder, "model.pt"))
        for file in ("model.safetensors", "model.pt"):
            found = features(Path(folder, file))
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, err_msg=file)


class Subclassed(keras.Model):
    """Layers kept under names of the user's, made in another order than they are called."""

    def __init__(self, widths: list[int], names: list[str], seed: int) -> None:
        super().__init__()
        self.calls = list(zip(names, widths, strict=True))
        for name, width in random.Random(seed).sample(self.calls, len(self.calls)):
            setattr(self, name, keras.layers.Dense(width, activation="tanh"))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}

    def call(self, x: Any) -> Any:
        for name, _ in self.calls:
            x = getattr(self, name)(x)
        return x


@settings(deadline=None, max_examples=10, phases=PHASES)
@given(
    widths=st.lists(st.integers(3, 30), min_size=2, max_size=6, unique=True),
    are_numbered=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_a_subclassed_keras_model_and_its_files_give_the_same_features(
    widths: list[int], are_numbered: bool, seed: int
) -> None:
    order = random.Random(seed)
    names = [f"layer{i}" for i in range(len(widths))] if are_numbered else order.sample(WORDS, 6)
    model = Subclassed(widths, names[: len(widths)], seed)
    model(np.zeros((1, 35), np.float32))
    randomise(model)
    network = read_weights(model)
    assert [layer.kernel.shape[0] for layer in network.layers] == widths
    expected = describe(network)
    with TemporaryDirectory() as folder:
        model.save(Path(folder, "model.keras"))
        model.save_weights(Path(folder, "model.weights.h5"))
        for file in ("model.keras", "model.weights.h5"):
            found = features(Path(folder, file))
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, err_msg=file)
