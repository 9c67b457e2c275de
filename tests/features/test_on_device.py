"""Networks described by PyTorch on their device: as numpy does, and one array travels.

The machine that runs the tests may have no GPU. Tensors on the CPU are then declared to lie on one,
every way to their values is watched, and PyTorch's fake tensors say whether two devices mix.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from accuracy_from_weights.features import description
from accuracy_from_weights.features.description import FEATURE_NAMES, describe
from accuracy_from_weights.weights import Layer, NetworkWeights, arrays, device_arrays, read_weights
from accuracy_from_weights.weights.device_arrays import DeviceArray


@pytest.fixture
def elsewhere(monkeypatch):
    """Pretend that large tensors lie on a device."""
    monkeypatch.setattr(device_arrays, "_COPIED_FROM", ())


@pytest.fixture
def copied(monkeypatch):
    """Give the sizes of all tensors whose values are copied to the CPU."""
    sizes: list[int] = []
    for name in ("cpu", "numpy", "tolist", "item", "__array__", "__bool__", "__float__", "to"):
        own = getattr(torch.Tensor, name)

        def recorded(tensor, *args, own=own, name=name, **options):
            if name != "to" or any("cpu" in str(x) for x in (*args, *options.values())):
                sizes.append(tensor.numel())
            return own(tensor, *args, **options)

        monkeypatch.setattr(torch.Tensor, name, recorded)
    return sizes


def residual_network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 32, 3, bias=False),
        nn.BatchNorm2d(32),
        nn.Conv2d(32, 96, (3, 5)),
        nn.Conv2d(96, 96, 3, groups=96),
        nn.Conv2d(96, 800, 1, bias=False),
        nn.BatchNorm2d(800),
        nn.ConvTranspose2d(800, 120, 2),
        nn.Linear(120, 1200),
        nn.LayerNorm(1200),
        nn.Linear(1200, 10),
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


def transformer() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Embedding(3000, 256),
        nn.TransformerEncoder(
            nn.TransformerEncoderLayer(256, 4, 600), 2, enable_nested_tensor=False
        ),
        nn.Linear(256, 20),
    )


def recurrent_network() -> nn.Module:
    torch.manual_seed(2)
    return nn.ModuleList([nn.LSTM(150, 160, 2), nn.GRU(160, 200), nn.Linear(200, 4)])


def weight_normed() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(400, 300)), nn.Linear(300, 3)
    )


NETWORKS = (residual_network, transformer, recurrent_network, weight_normed)


@pytest.mark.parametrize("build", NETWORKS)
def test_a_network_is_described_as_on_the_cpu(build, elsewhere, monkeypatch):
    model = build()
    found = read_weights(model)
    assert build is weight_normed or any(isinstance(x.stored, DeviceArray) for x in found.layers)
    features = describe(found)
    monkeypatch.undo()
    expected = read_weights(model)
    assert not any(isinstance(layer.stored, DeviceArray) for layer in expected.layers)
    assert found.architecture == expected.architecture
    np.testing.assert_allclose(features, describe(expected), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("build", [residual_network, transformer, recurrent_network])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_small_array_travels(build, dtype, elsewhere, monkeypatch, request):
    found = read_weights(build().to(dtype))
    copied = request.getfixturevalue("copied")
    describe(found)
    assert len([size for size in copied if size]) <= 2  # to the CPU, and from there to numpy
    assert max(copied) < 100 * len(FEATURE_NAMES)


def test_small_tensors_travel_in_one_piece(elsewhere, copied):
    network = residual_network()
    network[2].half()
    network[9].double()
    found = read_weights(network)
    assert sum(isinstance(layer.stored, DeviceArray) for layer in found.layers) == 3
    assert len(copied) == 2 * 2  # doubles by themselves; to the CPU, and from there to numpy


def test_small_variables_of_keras_travel_in_one_piece(elsewhere, copied):
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("variables are tensors of PyTorch on its backend alone")
    dense = [keras.layers.Dense(n) for n in (300, 400, 3)]
    model = keras.Sequential([keras.Input((40,)), dense[0], keras.layers.BatchNormalization()])
    for layer in dense[1:]:
        model.add(layer)
    copied.clear()
    found = read_weights(model)
    assert [isinstance(layer.stored, DeviceArray) for layer in found.layers] == [False, True, False]
    assert len(copied) == 2  # to the CPU, and from there to numpy
    np.testing.assert_array_equal(found.layers[2].kernel.T, dense[2].kernel.numpy())


def on_device(network: NetworkWeights) -> NetworkWeights:
    """Return the same network with all kernels as tensors."""
    return NetworkWeights(
        tuple(
            Layer(
                layer.name,
                layer.kind,
                DeviceArray(torch.from_numpy(np.array(layer.stored))),
                *layer.others,
                layer.gain,
            )
            for layer in network.layers
        )
    )


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    shape=st.sampled_from(
        [(16, 12, 3, 3), (96, 80, 3, 3), (300, 230), (900, 1, 3, 3), (40, 1700), (64, 30, 5, 7)]
    ),
    centre=st.sampled_from([0.0, 0.01]),
    tail=st.sampled_from([3, 30]),
    gain=st.sampled_from([None, 1.0, 1e-7, 1e6]),
    order=st.sampled_from(["torch", "keras", "strided"]),
    value=st.sampled_from([None, np.inf, np.nan, 1e20]),
)
def test_numpy_and_torch_agree(seed, shape, centre, tail, gain, order, value):
    rng = np.random.default_rng(seed)
    kernel = (0.05 * rng.standard_t(tail, shape) + centre).astype(np.float32)
    if value is not None:
        kernel[3, 0] = value
    if order == "keras":
        kernel = np.ascontiguousarray(kernel.T).T
    elif order == "strided":
        kernel = np.stack([kernel, kernel], axis=-1)[..., 0]
    gains = None if gain is None else (gain * rng.normal(1, 0.3, shape[0])).astype(np.float32)
    is_depthwise = shape[1] == 1
    first = rng.normal(size=(shape[0] if is_depthwise else shape[1], 3)).astype(np.float32)
    last = rng.normal(size=(10, shape[0])).astype(np.float32)
    network = NetworkWeights(
        (
            Layer("a", "dense", first),
            Layer("b", "depthwise_conv" if is_depthwise else "conv", kernel, gain=gains),
            Layer("c", "dense", last, np.zeros(10, np.float32)),
        )
    )
    found, expected = describe(on_device(network)), describe(network)
    assert np.isnan(expected).all() == (value is not None and not np.isfinite(value))
    if value == 1e20 and not np.isnan(expected).any():
        return  # beside a weight that has diverged the rest is rounding
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_in_the_middle_of_a_training_step():
    network = on_device(read_weights(residual_network()))
    expected = describe(network)
    with torch.autocast("cpu", torch.bfloat16), torch.enable_grad():
        found = describe(network)
    np.testing.assert_array_equal(found, expected)


class _Launches(TorchDispatchMode):
    """Count what is done on the device."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += not func.__name__.startswith(
            ("view", "slice", "select", "unsqueeze", "transpose", "permute", "expand", "split")
        )
        return func(*args, **(kwargs or {}))


def test_more_layers_of_one_shape_take_no_more_launches():
    def launches(n_layers: int) -> int:
        generator = np.random.default_rng(0)
        layers = []
        for shape in ((64, 32), *[(64, 64)] * n_layers, (10, 64)):
            kernel = generator.normal(size=shape).astype(np.float32)
            bias, gain = generator.normal(size=(2, shape[0])).astype(np.float32)
            layers.append(Layer("", "dense", kernel, bias, gain=gain))
        network = on_device(NetworkWeights(tuple(layers)))
        describe(network)  # what stays the same for all networks is sent once
        with _Launches() as counted:
            describe(network)
        return counted.n

    # Beyond the depth to which inputs are sent, a layer adds next to nothing.
    assert launches(40) - launches(20) < 2 * 20
    assert launches(20) < 800


def test_a_resnet50_takes_few_launches(monkeypatch):
    """Layers of its shapes, whose tensors have no values."""
    monkeypatch.setattr(description, "on_host", lambda tensor: np.ones(tuple(tensor.shape)))
    shapes, before = [(64, 3, 7, 7)], 64
    for width, n_blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(n_blocks):
            shapes += [(width, before, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            if before != 4 * width:
                shapes.append((4 * width, before, 1, 1))
            before = 4 * width
    layers = []
    for shape in shapes:
        kernel, ones = DeviceArray(torch.empty(shape, device="meta")), np.ones(shape[0], "f")
        layers.append(Layer("", "conv", kernel, ones, gain=ones))
    layers.append(Layer("", "dense", DeviceArray(torch.empty(1000, before, device="meta"))))
    network = NetworkWeights(tuple(layers))
    describe(network)  # what stays the same for all networks is sent once
    with _Launches() as counted:
        describe(network)
    assert counted.n < 1_600


def test_no_two_devices_are_mixed(monkeypatch):
    """Tensors without values, which no operation mixes with those of the CPU."""

    def on_host(tensor):
        assert tensor.device.type == "meta"
        return np.ones(tuple(tensor.shape))

    monkeypatch.setattr(description, "on_host", on_host)
    shapes = {"conv": (256, 512, 3, 3), "depthwise_conv": (256, 1, 3, 3), "dense": (10, 256)}
    ones = np.ones(256, np.float32)
    layers = [
        Layer("", kind, DeviceArray(torch.empty(shape, device="meta")), ones[: shape[0]])
        for kind, shape in shapes.items()
    ]
    layers[0] = replace(layers[0], gain=ones)
    describe(NetworkWeights(tuple(layers)))
    with pytest.raises(RuntimeError, match="device"):  # else nothing has been shown
        torch.empty(2, device="meta") + torch.empty(2)


def test_an_array_on_a_device_does_what_readers_ask_of_an_array(monkeypatch):
    values = np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32)
    array = DeviceArray(torch.from_numpy(values))
    assert (array.shape, array.ndim, array.size, len(array)) == ((4, 6, 5), 3, 120, 4)
    assert array.dtype == np.float32
    assert DeviceArray(torch.zeros(2, dtype=torch.float64)).dtype == np.float64
    pairs = [
        (array.T, values.T),
        (array.transpose(1, 0, 2), values.transpose(1, 0, 2)),
        (array.transpose((2, 0, 1)), values.transpose((2, 0, 1))),
        (np.moveaxis(array, -1, 0), np.moveaxis(values, -1, 0)),
        (array.swapaxes(0, 2), values.swapaxes(0, 2)),
        (array.reshape(-1, 5), values.reshape(-1, 5)),
        (array.reshape((8, 3, 5)), values.reshape(8, 3, 5)),
        (array[None], values[None]),
        (array[1:3], values[1:3]),
        (array[np.array([2, 0])], values[[2, 0]]),
    ]
    for found, expected in pairs:
        assert isinstance(found, DeviceArray)
        np.testing.assert_array_equal(np.asarray(found), expected)
    np.testing.assert_array_equal(array * array / 2, values * values / 2)
    np.testing.assert_array_equal(array.astype(float), values.astype(float))
    assert not np.asarray(array).flags.writeable
    assert Layer("a", "conv", array).kernel.sum() == values.sum()
    monkeypatch.setattr(device_arrays, "_COPIED_FROM", ())
    assert isinstance(arrays.to_numpy(torch.zeros(300, 300), "w"), DeviceArray)
    assert isinstance(arrays.to_numpy(torch.zeros(90_000), "b"), np.ndarray)
    assert arrays.to_numpy(torch.zeros(300, 300, dtype=torch.bool), "m") is None
