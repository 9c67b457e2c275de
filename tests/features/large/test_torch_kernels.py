"""Large layers described by PyTorch on their device: as numpy does, and only numbers travel.

The machine that runs the tests may have no GPU. Tensors on the CPU are then declared to lie on one,
every way to their values is watched, and PyTorch's fake tensors say whether two devices mix.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from accuracy_from_weights import load_predictor
from accuracy_from_weights.features.description import describe
from accuracy_from_weights.features.large import torch_kernels
from accuracy_from_weights.features.large.large_layers import (
    LARGEST_EXACT,
    LargeLayer,
    large_kernel_statistics,
)
from accuracy_from_weights.features.layer_statistics import LAYER_STATISTIC_NAMES, layer_statistics
from accuracy_from_weights.features.propagation import propagate
from accuracy_from_weights.weights import Layer, arrays, device_arrays, read_weights
from accuracy_from_weights.weights.device_arrays import DeviceArray

MOST_COPIED = 2**16


@pytest.fixture
def elsewhere(monkeypatch):
    """Pretend that large tensors lie on a device; give the sizes of all that is copied from it."""
    monkeypatch.setattr(device_arrays, "_COPIED_FROM", ())
    copied: list[int] = []
    for name in ("cpu", "numpy", "tolist", "item", "__array__", "to"):
        own = getattr(torch.Tensor, name)

        def recorded(tensor, *args, own=own, name=name, **options):
            if name != "to" or any("cpu" in str(x) for x in (*args, *options.values())):
                copied.append(tensor.numel())
            return own(tensor, *args, **options)

        monkeypatch.setattr(torch.Tensor, name, recorded)
    return copied


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
    np.testing.assert_allclose(features, describe(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("build", [residual_network, transformer, recurrent_network])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_numbers_travel(build, dtype, elsewhere):
    describe(read_weights(build().to(dtype)))
    assert elsewhere  # small layers were copied
    assert max(elsewhere) <= MOST_COPIED


def test_the_estimate_is_the_same(elsewhere, monkeypatch):
    predictor, model = load_predictor(), residual_network()
    on_device = predictor.estimate(model)
    assert elsewhere
    monkeypatch.undo()
    on_cpu = predictor.estimate(model)
    assert on_device.accuracy == pytest.approx(on_cpu.accuracy, abs=1e-4)
    assert on_device.low == pytest.approx(on_cpu.low, abs=1e-4)


def test_what_is_copied_at_once_needs_no_estimates():
    assert device_arrays.SMALL == LARGEST_EXACT


def described(kernel, gain: np.ndarray | None) -> np.ndarray:
    stored = kernel[None]
    layer = Layer("a", "conv", stored, gain=None if gain is None else gain[None])
    large = LargeLayer.of(layer)
    assert isinstance(large.kernels[0], torch_kernels.TorchKernel) == isinstance(
        stored, DeviceArray
    )
    numbers = np.concatenate([[k.is_finite for k in large.kernels], *_statistics(large)])
    return numbers.astype(float)


def _statistics(large: LargeLayer) -> list[np.ndarray]:
    if not large.kernels[0].is_finite:
        return []
    last = Layer("b", "dense", np.ones((1, 3, large.shape[1]), np.float32))
    statistics = layer_statistics(large)
    return [
        *(statistics[name] for name in LAYER_STATISTIC_NAMES),
        propagate((large, last), 1)[0],
    ]


SMALLEST = 1 + LAYER_STATISTIC_NAMES.index("smallest_singular")


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    shape=st.sampled_from(
        [(96, 80, 3, 3), (300, 230), (1100, 1, 3, 3), (40, 1700), (64, 30, 5, 7)]
    ),
    centre=st.sampled_from([0.0, 0.01, 1.0]),
    tail=st.sampled_from([3, 30]),
    gain=st.sampled_from([None, 1.0, 1e-7, 1e6]),
    order=st.sampled_from(["torch", "keras", "strided"]),
    value=st.sampled_from([None, np.inf, np.nan, 1e20]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
)
def test_numpy_and_torch_agree(seed, shape, centre, tail, gain, order, value, dtype):
    rng = np.random.default_rng(seed)
    kernel = torch.from_numpy(0.05 * rng.standard_t(tail, shape) + centre).to(dtype)
    if value is not None:
        kernel[3, 0] = value
    if order == "keras":
        kernel = kernel.permute(*reversed(range(len(shape)))).contiguous()
        kernel = kernel.permute(*reversed(range(len(shape))))
    elif order == "strided":
        kernel = torch.stack([kernel, kernel], dim=-1)[..., 0]
    gains = None if gain is None else (gain * rng.normal(1, 0.3, shape[0])).astype(np.float32)
    copied = device_arrays.to_host(kernel)
    with np.errstate(all="ignore"):
        found, expected = described(DeviceArray(kernel), gains), described(copied, gains)
    if len(found) > 1:  # finite; beside a weight that has diverged the rest is rounding
        assert found[SMALLEST] == pytest.approx(expected[SMALLEST], abs=0.05)
        found[SMALLEST] = expected[SMALLEST]
    np.testing.assert_allclose(found, expected, rtol=5e-4, atol=5e-4)


def test_in_the_middle_of_a_training_step():
    kernel = DeviceArray(torch.from_numpy(np.random.default_rng(0).normal(size=(300, 400))))
    expected = described(kernel, None)
    with torch.autocast("cpu", torch.bfloat16), torch.enable_grad():
        found = described(kernel, None)
    np.testing.assert_array_equal(found, expected)


class _Largest(TorchDispatchMode):
    """Notes how many values the largest tensor has that does not share the given one's memory."""

    def __init__(self, kernel: torch.Tensor) -> None:
        super().__init__()
        self.values = 0
        self._shared = kernel.untyped_storage().data_ptr()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            storage = result.untyped_storage()
            if storage.data_ptr() != self._shared:
                self.values = max(self.values, storage.nbytes() // result.element_size())
        return result


def test_the_device_holds_no_second_copy():
    kernel = torch.randn(512, 256, 3, 3)
    with _Largest(kernel) as largest:
        described(DeviceArray(kernel), np.ones(512, np.float32))
    assert 0 < largest.values <= kernel.numel() / 8


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_no_two_devices_are_mixed(device, monkeypatch):
    copied: list[int] = []

    def to_host(tensor):
        copied.append(tensor.numel())
        assert tensor.device.type == device
        return np.ones(tuple(tensor.shape), np.float32)

    monkeypatch.setattr(torch_kernels, "to_host", to_host)
    with FakeTensorMode(), np.errstate(all="ignore"):
        kernel = torch_kernels.TorchKernel(
            torch.empty(256, 512, 3, 3, device=device), np.ones(256, np.float32)
        )
        large_kernel_statistics(kernel, lambda sample: np.ones(1))
        kernel.carry(np.ones((6, 512)), np.ones((6, 512)))
        depthwise = torch_kernels.TorchKernel(torch.empty(9000, 1, 3, 3, device=device), None)
        depthwise.carry(np.ones((6, 9000)), np.ones((6, 9000)), True)
        with pytest.raises(RuntimeError, match="device"):  # else nothing has been shown
            torch.empty(2, device=device) + torch.empty(2)
    assert copied


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
