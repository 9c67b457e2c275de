"""The order of layers: as registered, and worked out where a file does not store it."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.torch import save_file

from accuracy_from_weights.weights import read_weights
from tests.weights.architectures import ARCHITECTURES, randomised
from tests.weights.comparing import assert_same_layers
from tests.weights.networks import PAIRS, randomise

layers = keras.layers


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_module_state_dict_and_sorted_file_agree(name: str, tmp_path: Path) -> None:
    module = randomised(ARCHITECTURES[name]())
    state = module.state_dict()
    expected = read_weights(module)
    assert len({layer.kernel.tobytes() for layer in expected.layers}) == len(expected.layers)
    assert_same_layers(read_weights(state), expected)
    # The format's writer sorts tensors by name.
    save_file(state, tmp_path / "model.safetensors")
    assert_same_layers(read_weights(tmp_path / "model.safetensors"), expected)


def test_every_norm_of_a_transformer_is_somewhere() -> None:
    for name in ("encoder", "vision_transformer", "gpt", "bert", "llama"):
        module = randomised(ARCHITECTURES[name]())
        scales = {
            tensor.detach().numpy().tobytes()
            for path, tensor in module.named_parameters()
            if tensor.ndim == 1 and path.endswith("weight")
        }
        read = {
            layer.norm_scale.tobytes()
            for layer in read_weights(module).layers
            if layer.norm_scale is not None
        }
        # The last block's own norm gives way to the network's, where both follow one layer.
        assert len(scales - read) <= (1 if name == "encoder" else 0)
        assert read <= scales


def test_pre_norm_blocks_norm_what_wrote_to_the_stream() -> None:
    module = randomised(ARCHITECTURES["vision_transformer"]())
    read = {layer.name: layer for layer in read_weights(module).layers}
    tensors = module.state_dict()
    for kernel, norm in (
        ("patch_embed.proj", "blocks.0.norm1"),
        ("blocks.0.attn.proj", "blocks.0.norm2"),
        ("blocks.0.mlp.fc2", "blocks.1.norm1"),
        ("blocks.10.mlp.fc2", "norm"),
    ):
        np.testing.assert_array_equal(read[kernel].norm_scale, tensors[f"{norm}.weight"])


@keras.saving.register_keras_serializable()
class Block(layers.Layer):
    """A post-norm transformer block, whose attributes' alphabet is not its order."""

    def __init__(self, width: int = 8, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.mixing = layers.MultiHeadAttention(2, 4)
        self.first_norm = layers.LayerNormalization()
        self.expand = layers.Dense(2 * width)
        self.contract = layers.Dense(width)

    def call(self, x: object) -> object:
        x = self.first_norm(x + self.mixing(x, x))
        return x + self.contract(self.expand(x))


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.stem = layers.Conv2D(4, 3)
        self.batch_norm = layers.BatchNormalization()
        self.body = layers.Conv2D(8, 3)
        self.blocks = [Block() for _ in range(2)]
        self.answer = layers.Dense(3)

    def call(self, x: object) -> object:
        x = self.body(self.batch_norm(self.stem(x)))
        x = keras.ops.reshape(x, (-1, 16, 8))
        for block in self.blocks:
            x = block(x)
        return self.answer(x[:, 0])


class Unnamed(layers.Layer):
    """Variables without names, as `add_weight` allows."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.first = self.add_weight(shape=(shape[-1], 5))
        self.offset = self.add_weight(shape=(5,))
        self.second = self.add_weight(shape=(5, 2), name="second")

    def call(self, x: object) -> object:
        return (x @ self.first + self.offset) @ self.second


def subclassed() -> keras.Model:
    model = Subclassed()
    model(np.zeros((1, 8, 8, 3), np.float32))
    return model


def nested() -> keras.Model:
    inner = keras.Sequential(
        [
            layers.Input((8,)),
            layers.Dense(5),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dense(4),
        ]
    )
    inputs = keras.Input((8,))
    einsum = layers.EinsumDense("ab,bcd->acd", output_shape=(2, 3), bias_axes="cd")
    return keras.Model(inputs, einsum(layers.PReLU()(inner(inputs))))


def cells() -> keras.Model:
    inputs = keras.Input((6, 8))
    x = layers.RNN([layers.LSTMCell(3), layers.GRUCell(4)], return_sequences=True)(inputs)
    x = layers.TimeDistributed(layers.Dense(4))(x)
    return keras.Model(inputs, layers.Dense(2)(layers.SimpleRNN(6)(x)))


def many() -> keras.Model:
    """More than ten of a kind, so that the alphabet upsets the counters too."""
    model = keras.Sequential([keras.Input((6, 6, 2))])
    for _ in range(12):
        model.add(layers.Conv2D(4, 1, use_bias=False))
        model.add(layers.BatchNormalization(scale=False))
        model.add(layers.Activation("tanh"))
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(3))
    return model


def unnamed() -> keras.Model:
    return keras.Sequential([layers.Input((4,)), Unnamed(), layers.Dense(2)])


def branches() -> keras.Model:
    inputs = keras.Input((9, 9, 3))
    ends = []
    for i in range(3):
        x = inputs
        for _ in range(i + 1):
            x = layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        ends.append(x)
    x = layers.GlobalAveragePooling2D()(layers.Concatenate()(ends))
    return keras.Model(inputs, layers.Dense(2)(x))


MODELS = {f.__name__: f for f in (subclassed, nested, cells, many, unnamed, branches)}


@pytest.mark.parametrize("name", MODELS)
def test_files_of_keras_agree_with_the_model(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    randomise(model)
    expected = read_weights(model)
    model.save_weights(tmp_path / "model.weights.h5")
    assert_same_layers(read_weights(tmp_path / "model.weights.h5"), expected)
    model.save(tmp_path / "model.keras")
    assert_same_layers(read_weights(tmp_path / "model.keras"), expected)


def test_repacked_files_are_put_in_order_by_names_and_shapes(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    for build in (PAIRS["paper_cnn"], PAIRS["batch_norm_cnn"], PAIRS["depthwise_cnn"]):
        model = build().keras_model
        model.save_weights(tmp_path / "model.weights.h5")
        # Copied group by group in alphabetical order, the file no longer tells what came first.
        with (
            h5py.File(tmp_path / "model.weights.h5") as source,
            h5py.File(tmp_path / "repacked.weights.h5", "w") as target,
        ):
            layers_group = target.create_group("layers")
            for name in sorted(source["layers"]):
                source.copy(source["layers"][name], layers_group, name=name)
        assert_same_layers(
            read_weights(tmp_path / "repacked.weights.h5"),
            read_weights(tmp_path / "model.weights.h5"),
        )


def test_flax_parameters_come_sorted_and_are_put_in_order() -> None:
    rng = np.random.default_rng(0)

    def array(*shape: int) -> np.ndarray:
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)

    params, statistics = {}, {}
    for i, (n_in, n_out) in enumerate([(3, 4)] + [(4, 4)] * 10):
        params[f"Conv_{i}"] = {"kernel": array(3, 3, n_in, n_out), "bias": array(n_out)}
        params[f"BatchNorm_{i}"] = {"scale": array(n_out), "bias": array(n_out)}
        statistics[f"BatchNorm_{i}"] = {"mean": array(n_out), "var": array(n_out)}
    params["Dense_0"] = {"kernel": array(4, 2), "bias": array(2)}
    sorted_params = {name: params[name] for name in sorted(params)}
    network = read_weights({"params": sorted_params, "batch_stats": statistics})
    names = [f"Conv_{i}" for i in range(11)] + ["Dense_0"]
    assert [layer.name for layer in network.layers] == names
    for i, layer in enumerate(network.layers[:-1]):
        norm, found = params[f"BatchNorm_{i}"], statistics[f"BatchNorm_{i}"]
        scale = norm["scale"] / np.sqrt(found["var"] + 1e-5)
        kernel = (params[f"Conv_{i}"]["kernel"] * scale).transpose(3, 2, 0, 1)
        np.testing.assert_allclose(layer.kernel, kernel, rtol=1e-5)
        bias = (params[f"Conv_{i}"]["bias"] - found["mean"]) * scale + norm["bias"]
        np.testing.assert_allclose(layer.bias, bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("classes", [2, 4, 9, 10, 12])
def test_alphabet_gives_way_where_shapes_allow_one_order(channels: int, classes: int) -> None:
    shapes = {
        "classifier": (classes, 16),
        "features.0": (8, channels, 3, 3),
        "features.11": (16, 12, 3, 3),
        "features.3": (12, 8, 3, 3),
    }
    state = randomised_state(shapes)
    assert [layer.name for layer in read_weights(state).layers] == [
        "features.0",
        "features.3",
        "features.11",
        "classifier",
    ]


@pytest.mark.parametrize(
    "shapes",
    [
        {"fc": (128, 20), "grow.0": (8, 8, 3, 3), "grow.1": (1, 8, 3, 3)},  # a generator
        {"a": (5, 7), "b": (5, 5), "c": (3, 5)},
        {"conv1": (8, 3, 3, 3), "conv2": (8, 8, 3, 3), "fc": (10, 32)},
        {"a": (5, 7), "b": (9, 3), "c": (4, 8)},  # no order chains
    ],
)
def test_alphabet_stays_where_it_may_be_the_order(shapes: dict[str, tuple[int, ...]]) -> None:
    names = [layer.name for layer in read_weights(randomised_state(shapes)).layers]
    assert names == list(shapes)


def randomised_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"{name}.weight": rng.normal(size=shape) for name, shape in shapes.items()}
