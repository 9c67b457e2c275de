from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from accuracy_from_weights.zoo.rebuilding.torch_modules import PlainModule
from accuracy_from_weights.zoo.recipes.architecture import Architecture, InputForm
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe, Task
from accuracy_from_weights.zoo_training.initial_state import initial_state

IMAGE, TOKENS = InputForm("image", (3, 12, 12)), InputForm("tokens", (9,), vocabulary=60)
NETWORKS = {
    "cnn": (
        IMAGE,
        Architecture(
            widths=(40, 40), strides=(1, 2), normalisation="batch", head="flatten", dense=(70,)
        ),
    ),
    "separable": (IMAGE, Architecture("separable", (64, 64), strides=(1, 2))),
    "vit": (IMAGE, Architecture("vit", (48,), normalisation="layer", patch_size=3, heads=2)),
    "lstm": (TOKENS, Architecture("lstm", (40,), embedding=30, head="last")),
    "gru": (TOKENS, Architecture("gru", (40,), embedding=30, head="last")),
}


def recipe_of(form: InputForm, architecture: Architecture, initialiser: str) -> NetworkRecipe:
    return NetworkRecipe(
        family="universe",
        index=0,
        seed=5,
        order_seed=0,
        task=Task("made", form, 60, 100, 100, 0),
        architecture=architecture,
        optimizer="adam",
        learning_rate=1e-3,
        epochs=1,
        checkpoints=(0, 1),
        batch_size=10,
        initialiser=initialiser,
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_default_starts_as_pytorch_does(name: str) -> None:
    form, architecture = NETWORKS[name]
    torch.manual_seed(0)
    own = {n: p.detach().numpy() for n, p in PlainModule(architecture, form, 60).named_parameters()}
    shapes = {n: values.shape for n, values in own.items()}
    state = initial_state(recipe_of(form, architecture, "torch_default"), shapes)
    for key, values in own.items():
        if key == "position":
            continue
        if values.size < 100:  # a bias: the bounds are what can be compared
            assert np.abs(state[key]).max() < 1.6 * np.abs(values).max() + 1e-9, key
            assert np.abs(state[key]).max() >= 0.6 * np.abs(values).max(), key
            continue
        assert state[key].std() == pytest.approx(float(values.std()), rel=0.12), key
        assert state[key].mean() == pytest.approx(
            float(values.mean()), abs=0.3 * float(values.std())
        ), key


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_keras_default_starts_as_keras_does(kind: str) -> None:
    keras = pytest.importorskip("keras")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    form, architecture = NETWORKS[kind]
    shapes = {n: tuple(p.shape) for n, p in PlainModule(architecture, form, 60).named_parameters()}
    state = initial_state(recipe_of(form, architecture, "keras_default"), shapes)
    layer = (keras.layers.LSTM if kind == "lstm" else keras.layers.GRU)(40)
    embedding, head = keras.layers.Embedding(60, 30), keras.layers.Dense(60)
    head(layer(embedding(np.zeros((1, 9)))))
    kernel, recurrent, bias = (keras.ops.convert_to_numpy(w) for w in layer.weights)
    ours = state["blocks.0.rnn.weight_ih_l0"], state["blocks.0.rnn.weight_hh_l0"]
    assert ours[0].std() == pytest.approx(kernel.std(), rel=0.1)
    np.testing.assert_allclose(ours[1].T @ ours[1], recurrent @ recurrent.T, atol=1e-5)
    # An LSTM's forget gates start open: the second of four, in both frameworks.
    ones = np.flatnonzero(state["blocks.0.rnn.bias_ih_l0"])
    np.testing.assert_array_equal(ones, np.flatnonzero(bias) if kind == "lstm" else [])
    for name, variable in (("embedding", embedding.embeddings), ("head", head.kernel)):
        values = keras.ops.convert_to_numpy(variable)
        assert state[f"{name}.weight"].std() == pytest.approx(values.std(), rel=0.1)
    assert (state["head.bias"] == 0).all()
