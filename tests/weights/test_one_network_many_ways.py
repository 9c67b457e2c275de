"""One network of the paper's family, given in every way there is, gets one estimate."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from accuracy_from_weights import load_predictor
from accuracy_from_weights.features.description import describe
from accuracy_from_weights.weights import read_weights
from tests.weights.networks import Pair, paper_cnn

PREDICTOR = Path(__file__).parents[1] / "data" / "predictors" / "small.predictor"


@pytest.fixture(scope="module")
def pair() -> Pair:
    return paper_cnn()


def as_arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def renamed(state: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """The same tensors with other names for the layers."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    new = dict(zip(layers, names, strict=True))
    return {f"{new[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}": state[n] for n in state}


def biases_first(state: Mapping[str, Any]) -> dict[str, Any]:
    layers = dict.fromkeys(name.rpartition(".")[0] for name in state)
    return {
        f"{layer}.{role}": state[f"{layer}.{role}"]
        for layer in layers
        for role in ("bias", "weight")
    }


def sources(pair: Pair) -> dict[str, Any]:
    module = pair.torch_module
    arrays = as_arrays(module)
    numbered = renamed(arrays, ["0", "3", "6", "10"])
    named = renamed(arrays, ["features.0", "features.3", "features.6", "classifier"])
    return {
        "module": module,
        "module in training": paper_cnn().torch_module.train(),
        "wrapped": torch.nn.DataParallel(module),
        "keras": pair.keras_model,
        "tensors": module.state_dict(),
        "arrays": arrays,
        "double precision": {name: array.astype(np.float64) for name, array in arrays.items()},
        "column-major": {name: np.asfortranarray(array) for name, array in arrays.items()},
        "numbered": numbered,
        "biases first": biases_first(numbered),
        "by alphabet": dict(sorted(named.items())),
        "keras names": renamed(arrays, ["conv2d", "conv2d_1", "conv2d_2", "dense"]),
        "checkpoint": {"epoch": 3, "model_state_dict": arrays},
    }


@pytest.mark.parametrize("name", sources(paper_cnn()))
def test_every_way_to_hand_over_a_network(name: str, pair: Pair) -> None:
    source = sources(pair)[name]
    expected = describe(read_weights(pair.torch_module).as_stack())
    np.testing.assert_allclose(
        describe(read_weights(source).as_stack()), expected, rtol=1e-5, atol=1e-5
    )
    predictor = load_predictor(PREDICTOR)
    one, other = predictor.estimate(source), predictor.estimate(pair.torch_module)
    assert one.accuracy == pytest.approx(other.accuracy, abs=1e-5)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-5)
    assert one.in_family == other.in_family


def test_every_file_of_a_network_on_the_command_line(pair: Pair, tmp_path: Path) -> None:
    state = pair.torch_module.state_dict()
    torch.save(state, tmp_path / "model.pt")
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "model.ckpt")
    save_file(state, tmp_path / "model.safetensors")
    np.savez(tmp_path / "model.npz", **as_arrays(pair.torch_module))
    pair.keras_model.save(tmp_path / "model.keras")
    pair.keras_model.save_weights(tmp_path / "model.weights.h5")
    files = sorted(tmp_path.iterdir())
    command = [sys.executable, "-m", "accuracy_from_weights", "estimate", *map(str, files)]
    done = subprocess.run(
        [*command, "--json", "--predictor", str(PREDICTOR)],
        capture_output=True,
        text=True,
        check=False,
    )
    rows = json.loads(done.stdout)
    assert [row["file"] for row in rows] == list(map(str, files))
    expected = load_predictor(PREDICTOR).estimate(pair.keras_model)
    for row in rows:
        assert row["accuracy"] == pytest.approx(expected.accuracy, abs=1e-5), row["file"]
    assert done.returncode == (0 if expected.in_family else 3)
