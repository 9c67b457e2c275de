from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from accuracy_from_weights.zoo.recipes.architecture import Architecture, InputForm
from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo_training.keras_models import KerasNetwork
from accuracy_from_weights.zoo_training.training import train_networks
from tests.zoo_training.blobs import blobs, build_module

ARCHITECTURES = {
    "cnn": Architecture(
        widths=(6, 8), strides=(2, 1), normalisation="batch", padding="same", head="flatten"
    ),
    "cnn-pool": Architecture(
        widths=(6, 8), strides=(2, 1), normalisation="group", pooling="max", activation="gelu"
    ),
    "resnet": Architecture(
        kind="resnet", widths=(6, 6, 8), strides=(1, 1, 2), normalisation="layer", activation="silu"
    ),
    "separable": Architecture(
        kind="separable", widths=(6, 8), strides=(1, 2), kernel_size=5, pooling="average"
    ),
    "mlp": Architecture(kind="mlp", widths=(12, 8), normalisation="layer", activation="tanh"),
    "vit": Architecture(
        kind="vit", widths=(8, 8), normalisation="layer", patch_size=5, heads=2, activation="gelu"
    ),
}


def recipe_for(architecture: Architecture, **changes: object) -> NetworkRecipe:
    """A short training without dropout, which every backend draws in its own way."""
    drawn = PaperRecipe(epochs=2, checkpoints=(0, 1, 2), batch_size=32, n_train=150).draw(
        0, 0, blobs().facts
    )
    values = {
        "architecture": architecture,
        "task": dataclasses.replace(drawn.task, n_train=150, pool=None),
        "dropout": 0.0,
        "optimizer": "momentum",
        "learning_rate": 1e-2,
        "initialiser": "glorot_normal",
        "batch_size": 32,
        "checkpoints": (0, 0.5, 1.5, 2),
        **changes,
    }
    return dataclasses.replace(drawn, **values)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_keras_network_is_the_pytorch_network(name):
    architecture = ARCHITECTURES[name]
    form = InputForm("image", (2, 20, 20))
    recipe = recipe_for(architecture)
    task = dataclasses.replace(recipe.task, form=form)
    module = build_module(dataclasses.replace(recipe, task=task)).eval()
    rng = np.random.default_rng(0)
    state = {
        name: (value.numpy() + rng.uniform(0.0, 0.3, value.shape)).astype(np.float32)
        for name, value in module.state_dict().items()
        if value.is_floating_point()
    }
    module.load_state_dict({n: torch.from_numpy(v) for n, v in state.items()}, strict=False)
    network = KerasNetwork(architecture, form, 4)
    network.load(state)
    back = network.state()
    assert list(back) == list(state)
    for key, weights in state.items():
        np.testing.assert_array_equal(back[key], weights)
    x = rng.normal(size=(3, 2, 20, 20)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    got = network.model.predict(x.transpose(0, 2, 3, 1), verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


CHANGES = [
    {"l2": 1e-2},
    {"optimizer": "rmsprop", "learning_rate": 1e-3, "schedule": "cosine"},
    {"optimizer": "sgd", "weight_decay": 0.1, "schedule": "steps"},
    {"optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.1},
]


def assert_same(got, expected):
    """Check that two backends trained the same network."""
    for a, b in zip(got.checkpoints, expected.checkpoints, strict=True):
        assert a.step == b.step
        assert set(a.weights) == set(b.weights)
        for name, weights in b.weights.items():
            np.testing.assert_allclose(a.weights[name], weights, atol=2e-4, err_msg=name)
        for score in ("test_accuracy", "train_accuracy", "log_accuracy"):
            np.testing.assert_allclose(getattr(a, score), getattr(b, score), atol=0.021)
        for score in ("test_loss", "train_loss", "log_loss"):
            np.testing.assert_allclose(getattr(a, score), getattr(b, score), atol=1e-3)


@pytest.mark.parametrize("changes", CHANGES, ids=lambda c: "-".join(map(str, c)))
def test_both_backends_train_the_same_network(changes):
    data = blobs()
    recipe = recipe_for(Architecture(strides=(2, 2, 2)), **changes)
    (expected,) = train_networks([recipe], data)
    (got,) = train_networks([recipe], data, backend="keras")
    assert_same(got, expected)
    moved = got.checkpoints[-1].weights["head.weight"] - got.checkpoints[0].weights["head.weight"]
    assert np.abs(moved).max() > 1e-3


def test_keras_has_dropout_in_training_only_and_records_divergence():
    data = blobs()
    recipe = recipe_for(Architecture(strides=(2, 2, 2)), dropout=0.6, optimizer="adam")
    broken = dataclasses.replace(recipe, optimizer="sgd", learning_rate=1e9)
    trained = list(train_networks([recipe, broken], data, backend="keras"))
    assert [t.diverged for t in trained] == [False, True]
    end = trained[0].checkpoints[-1]
    assert end.log_loss > end.train_loss
    assert np.isnan(trained[1].checkpoints[-1].test_accuracy)
    assert all(np.isnan(w).all() for w in trained[1].checkpoints[-1].weights.values())


def test_keras_on_jax_trains_the_same_network(tmp_path: Path):
    script = Path(__file__).with_name("train_with_keras.py")
    output = tmp_path / "network.npz"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, str(script), str(output)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (expected,) = train_networks([recipe_for(Architecture(strides=(2, 2, 2)))], blobs())
    with np.load(output) as got:
        for name, weights in expected.checkpoints[-1].weights.items():
            np.testing.assert_allclose(got[name], weights, atol=2e-4, err_msg=name)
