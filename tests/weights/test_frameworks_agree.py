"""The same network reads the same from Keras and from PyTorch, and from every file of either."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from accuracy_from_weights.weights import read_weights
from tests.weights.comparing import assert_same_layers
from tests.weights.networks import PAIRS, Pair, batch_norm_cnn

EXPECTED = {
    "paper_cnn": ["conv (16, 1, 3, 3)"] + ["conv (16, 16, 3, 3)"] * 2 + ["dense (10, 16)"],
    "mlp": ["dense (9, 12)", "dense (9, 9)", "dense (3, 9)"],
    "batch_norm_cnn": ["conv (8, 3, 3, 3)", "conv (6, 8, 3, 3)", "dense (5, 216)"],
    "depthwise_cnn": [
        "conv (4, 2, 3, 3)",
        "depthwise_conv (8, 1, 3, 3)",
        "depthwise_conv (8, 1, 3, 3)",
        "conv (6, 8, 1, 1)",
        "conv (4, 3, 1, 1)",
        "transposed_conv (3, 4, 2, 2)",
        "dense (2, 3)",
    ],
    "residual_cnn": [
        "conv (6, 3, 3, 3)",
        "conv (6, 6, 3, 3)",
        "conv (6, 3, 1, 1)",
        "dense (4, 6)",
    ],
    "transformer": ["embedding (8, 11)"]
    + ["attention (8, 8)"] * 4
    + ["dense (16, 8)", "dense (8, 16)", "dense (3, 8)"],
    "recurrent": ["recurrent (20, 3)", "recurrent (20, 5)"] * 2
    + ["recurrent (12, 10)", "recurrent (12, 4)", "dense (2, 4)"],
}


@pytest.fixture(scope="module", params=PAIRS)
def named_pair(request: pytest.FixtureRequest) -> tuple[str, Pair]:
    return request.param, PAIRS[request.param]()


@pytest.fixture(scope="module")
def pair(named_pair: tuple[str, Pair]) -> Pair:
    return named_pair[1]


def test_the_pair_is_one_network(pair: Pair) -> None:
    rng = np.random.default_rng(3)
    is_text = pair.torch_module.__class__.__name__ == "Transformer"
    size = (2, *pair.shape)
    inputs = rng.integers(0, 11, size) if is_text else rng.normal(size=size)
    inputs = inputs.astype(np.float32)
    expected = keras.ops.convert_to_numpy(pair.keras_model(inputs, training=False))
    is_image = len(pair.shape) == 3
    with torch.no_grad():
        tensor = torch.from_numpy(inputs)
        answers = pair.torch_module.eval()(tensor.movedim(-1, 1) if is_image else tensor)
    np.testing.assert_allclose(answers.numpy(), expected, rtol=1e-3, atol=1e-4)


def test_layers_are_those_of_the_network(named_pair: tuple[str, Pair]) -> None:
    name, pair = named_pair
    layers = read_weights(pair.keras_model).layers
    assert [f"{layer.kind} {layer.kernel.shape}" for layer in layers] == EXPECTED[name]


def test_keras_and_torch_give_equal_layers(pair: Pair) -> None:
    assert_same_layers(read_weights(pair.keras_model), read_weights(pair.torch_module))


def test_every_file_of_keras_gives_the_same(pair: Pair, tmp_path: Path) -> None:
    expected = read_weights(pair.keras_model)
    pair.keras_model.save(tmp_path / "model.keras")
    pair.keras_model.save_weights(tmp_path / "model.weights.h5")
    pair.keras_model.save(tmp_path / "model.h5")
    for name in ("model.keras", "model.weights.h5", "model.h5"):
        assert_same_layers(read_weights(tmp_path / name), expected)


def test_every_file_of_torch_gives_the_same(pair: Pair, tmp_path: Path) -> None:
    # A state dict does not hold the epsilon of a batch normalisation: PyTorch's default is meant.
    for module in pair.torch_module.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-5
    expected = read_weights(pair.torch_module)
    state = pair.torch_module.state_dict()
    torch.save(state, tmp_path / "model.pt")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "state_dict": state, "optimizer_states": [{}]}, tmp_path / "run.ckpt")
    torch.save({"model_state_dict": state, "loss": 0.1}, tmp_path / "loop.pt")
    np.savez(tmp_path / "model.npz", **{key: value.numpy() for key, value in state.items()})
    save_file(state, tmp_path / "model.safetensors")
    for file in sorted(tmp_path.iterdir()):
        assert_same_layers(read_weights(file), expected)
        assert_same_layers(read_weights(str(file)), expected)
    assert_same_layers(read_weights(state), expected)
    assert_same_layers(read_weights({k: v.numpy() for k, v in state.items()}), expected)


def test_epsilon_is_the_frameworks_default_where_a_file_is_silent(tmp_path: Path) -> None:
    keras_like, torch_like = batch_norm_cnn(1e-3), batch_norm_cnn(1e-5)
    keras_like.keras_model.save_weights(tmp_path / "model.weights.h5")
    assert_same_layers(
        read_weights(tmp_path / "model.weights.h5"), read_weights(keras_like.torch_module)
    )
    assert_same_layers(
        read_weights(torch_like.torch_module.state_dict()), read_weights(torch_like.keras_model)
    )
