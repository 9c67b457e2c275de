"""Quantised networks: the values that were meant, or a refusal that names the format."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.ao import quantization

from accuracy_from_weights.errors import UnreadableFileError, UnsupportedModelError
from accuracy_from_weights.features.description import describe
from accuracy_from_weights.weights import read_weights
from tests.weights.comparing import assert_same_layers

STEP = 0.02
"""Largest difference between a weight of these networks and its nearest 8-bit code."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao.quantization is deprecated, and used
        yield


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv, self.relu = nn.Conv2d(3, 8, 3), nn.ReLU()
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.depthwise(self.relu(self.conv(self.quant(x))))
        return self.dequant(self.fc(x.mean(dim=(2, 3))))


def assert_nearly_same_features(first: Any, second: Any) -> None:
    one, other = describe(read_weights(first)), describe(read_weights(second))
    np.testing.assert_allclose(one, other, atol=0.05, rtol=0.02)


def test_dynamic_quantisation_keeps_the_head(tmp_path: Path) -> None:
    network = Network().eval()
    for dtype in (torch.qint8, torch.float16):
        quantised = quantization.quantize_dynamic(network, {nn.Linear}, dtype=dtype)
        torch.save(quantised.state_dict(), tmp_path / "quantised.pt")
        for source in (quantised, quantised.state_dict(), tmp_path / "quantised.pt"):
            assert_same_layers(read_weights(source), read_weights(network), STEP)
            assert_nearly_same_features(source, network)


@pytest.mark.parametrize("engine", ["x86", "qnnpack"])  # one scale a channel, and one a tensor
def test_static_quantisation(engine: str, tmp_path: Path) -> None:
    if engine not in torch.backends.quantized.supported_engines:
        pytest.skip(f"this build of PyTorch has no {engine}")
    network = Network().eval()
    network.qconfig = quantization.get_default_qconfig(engine)
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        quantised = quantization.prepare(network)
        quantised(torch.randn(8, 3, 8, 8))
        quantization.convert(quantised, inplace=True)
        torch.save(quantised.state_dict(), tmp_path / "quantised.pt")
        for source in (quantised, tmp_path / "quantised.pt"):
            assert_same_layers(read_weights(source), read_weights(network), STEP)
    finally:
        torch.backends.quantized.engine = before


def test_dynamically_quantised_recurrent_layers_and_embeddings() -> None:
    torch.manual_seed(0)
    network = nn.ModuleDict(
        {
            "embedding": nn.Embedding(9, 6),
            "lstm": nn.LSTM(6, 5, num_layers=2, bidirectional=True),
            "gru": nn.GRU(10, 4),
            "head": nn.Linear(4, 2),
        }
    )
    quantised = quantization.quantize_dynamic(network, {nn.LSTM, nn.GRU, nn.Linear})
    assert_same_layers(read_weights(quantised), read_weights(network), STEP)
    embedding = nn.Sequential(network["embedding"])
    embedding.qconfig = quantization.float_qparams_weight_only_qconfig
    quantised = quantization.convert(quantization.prepare(embedding))
    assert_same_layers(read_weights(quantised), read_weights(embedding), STEP)


def coded(weight: torch.Tensor, axis: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    peak = weight.abs().amax() if axis is None else weight.abs().amax(dim=axis, keepdim=True)
    scale = peak / 127
    return (weight / scale).round().to(torch.int8), scale


@pytest.mark.parametrize(
    "layout", ["channel", "vector", "tensor", "groups", "zero point", "bitsandbytes", "quanto"]
)
def test_int8_with_scales(layout: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(12, 8), nn.Linear(8, 3)
    codes, scale = coded(first.weight.detach(), None if layout == "tensor" else 1)
    state = {"fc1.weight": codes, "fc1.weight_scale": scale, "fc1.bias": first.bias.detach()}
    if layout == "vector":
        state["fc1.weight_scale"] = scale[:, 0]
    elif layout == "groups":
        codes, scale = coded(first.weight.detach().reshape(8, 3, 4), 2)
        state |= {"fc1.weight": codes.reshape(8, 12), "fc1.weight_scale": scale[..., 0]}
    elif layout == "zero point":
        codes = (codes.int() + 100).to(torch.int16)
        zeros = torch.full_like(scale, 100, dtype=torch.int16)
        state |= {"fc1.weight": codes, "fc1.weight_zero_point": zeros}
    elif layout == "bitsandbytes":
        del state["fc1.weight_scale"]
        state |= {"fc1.SCB": scale[:, 0] * 127, "fc1.weight_format": torch.tensor(0).byte()}
    elif layout == "quanto":
        state |= {"fc1.weight._data": codes, "fc1.weight._scale": scale}
        del state["fc1.weight"], state["fc1.weight_scale"]
    state |= {f"fc2.{name}": tensor for name, tensor in second.state_dict().items()}
    torch.save(state, tmp_path / "model.pt")
    save_file(state, tmp_path / "model.safetensors")
    for source in (state, tmp_path / "model.pt", tmp_path / "model.safetensors"):
        assert_same_layers(read_weights(source), read_weights(nn.Sequential(first, second)), STEP)


@pytest.mark.parametrize("suffix", ["weight_scale", "weight_scale_inv"])
def test_float8_with_scales(suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    weight = torch.randn(200, 130)
    scale = torch.rand(2, 2) + 0.5 if suffix.endswith("inv") else torch.rand(200, 1) + 0.5
    each = scale
    if suffix.endswith("inv"):
        each = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)[:200, :130]
    state = {"fc.weight": weight.to(torch.float8_e4m3fn), f"fc.{suffix}": scale}
    expected = {"fc.weight": state["fc.weight"].float() * each}
    save_file(state, tmp_path / "model.safetensors")
    for source in (state, tmp_path / "model.safetensors"):
        assert_same_layers(read_weights(source), read_weights(expected))


def state_with(**tensors: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"head.weight": torch.randn(3, 8), **{f"fc.{k}": v for k, v in tensors.items()}}


INT32, HALF, BYTES = torch.ones(2, 8).int(), torch.ones(2, 8).half(), torch.ones(32, 1).byte()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            state_with(
                **{
                    "weight": BYTES,
                    "weight.absmax": torch.ones(2),
                    "weight.quant_map": torch.ones(16),
                    "weight.quant_state.bitsandbytes__nf4": BYTES[:, 0],
                }
            ),
            "bitsandbytes",
        ),
        (state_with(qweight=INT32, qzeros=INT32, scales=HALF, g_idx=INT32[0]), "GPTQ"),
        (state_with(qweight=INT32, qzeros=INT32, scales=HALF), "AWQ"),
        (state_with(weight_packed=INT32, weight_scale=HALF, weight_shape=INT32[0]), "compressed"),
        (state_with(W_q=BYTES, scale=HALF, zero=HALF), "HQQ"),
        (state_with(codes=INT32, codebooks=HALF, scales=HALF), "code book"),
        (state_with(weight_qdata=INT32, weight_scale=HALF), "torchao"),
        (state_with(down_proj_blocks=BYTES, down_proj_scales=BYTES), "MXFP4"),
        (state_with(weight=INT32), "integers"),
        (state_with(weight=torch.ones(4, 8).byte(), weight_scale=torch.ones(7)), "integers"),
        (state_with(weight=torch.ones(8, 8).char(), weight_scales=HALF), "integers"),
    ],
)
def test_other_formats_are_refused_by_name(
    state: dict[str, torch.Tensor], words: str, tmp_path: Path
) -> None:
    save_file({k: v.contiguous().clone() for k, v in state.items()}, tmp_path / "a.safetensors")
    for source in (state, tmp_path / "a.safetensors"):
        with pytest.raises(UnsupportedModelError, match=words) as caught:
            read_weights(source)
        assert "\n" not in str(caught.value)


def test_integers_that_are_no_weights_are_left_out() -> None:
    state = state_with(weight=torch.ones(8, 4), relative_position_index=torch.ones(4, 4).long())
    assert len(read_weights(state).layers) == 2


def keras_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((6,))
    x = layers.Embedding(11, 8)(inputs)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.Dense(9)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, layers.Dense(3, use_bias=False)(x))


@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_quantised_keras_models_and_their_files(mode: str, tmp_path: Path) -> None:
    model = keras_model()
    expected = read_weights(model)
    model.quantize(mode)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    model.save(tmp_path / "model.h5")
    for source in (model, *sorted(tmp_path.iterdir())):
        assert_same_layers(read_weights(source), expected, STEP)


def test_four_bits_of_keras_are_refused(tmp_path: Path) -> None:
    model = keras_model()
    model.quantize("int4")
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    model.save(tmp_path / "model.h5")
    for source in (model, *sorted(tmp_path.iterdir())):
        with pytest.raises(UnsupportedModelError, match="quantise"):
            read_weights(source)


def test_complex_tensors_are_refused_everywhere(tmp_path: Path) -> None:
    state = {"fc.weight": torch.randn(4, 3), "mix.weight": torch.ones(4, 4, dtype=torch.complex64)}
    torch.save(state, tmp_path / "model.pt")
    np.savez(tmp_path / "model.npz", **{k: v.numpy() for k, v in state.items()})
    for source in (state, tmp_path / "model.pt", tmp_path / "model.npz"):
        with pytest.raises(UnsupportedModelError, match=r"mix\.weight.*complex"):
            read_weights(source)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(UnreadableFileError, match="complex"):
        read_weights(tmp_path / "model.safetensors")
