"""Properties of reading that hold for layers of any shape and arrays of any values."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights import read_weights

DTYPES = ["float16", "float32", "float64"]

shapes = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=3)
NAMES = [
    "weight",
    "bias",
    "kernel",
    "gamma",
    "beta",
    "moving_mean",
    "moving_variance",
    "scale",
    "running_mean",
    "running_var",
    "embeddings",
    "recurrent_kernel",
    "weight_ih_l0",
    "weight_hh_l0",
    "bias_ih_l0",
    "bias_hh_l0",
    "in_proj_weight",
    "in_proj_bias",
    "q_proj_weight",
    "depthwise_kernel",
    "pointwise_kernel",
    "weight_g",
    "weight_v",
    "weight_orig",
    "weight_u",
    "weight_mask",
    "mean",
    "var",
    "num_batches_tracked",
]

arrays = st.sampled_from([*DTYPES, "int8", "uint8", "int64", "bool", "complex64", "U3"]).flatmap(
    lambda dtype: hnp.arrays(np.dtype(dtype), shapes)
)
GROUPS = [
    "conv",
    "conv1",
    "bn",
    "attn",
    "attn.query",
    "attn.key",
    "attn.value",
    "attn.out",
    "linear2",
    "cell",
    "depthwise_conv2d",
    "conv2d_transpose",
    "deconv",
    "lstm",
    "batch_normalization",
    "embedding",
    "qkv",
    "0",
]


@settings(deadline=None, max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from(GROUPS),
        st.dictionaries(st.sampled_from(NAMES), arrays, min_size=1, max_size=5),
        min_size=1,
        max_size=5,
    )
)
def test_any_mapping_is_read_or_refused(source: dict[str, dict[str, np.ndarray]]) -> None:
    try:
        network = read_weights(source)
    except UnsupportedModelError:
        return
    for layer in network.layers:
        assert layer.kernel.ndim >= 2
        assert layer.kernel.size > 0
        assert layer.bias is None or layer.bias.shape == layer.kernel.shape[:1]
        for norm in (layer.norm_scale, layer.norm_shift):
            assert norm is None or norm.shape == layer.kernel.shape[:1]
        for array in layer.arrays:
            assert array is None or array.dtype in (np.float32, np.float64)
    flat = {f"{group}/{name}": a for group, found in source.items() for name, a in found.items()}
    again = read_weights(flat)
    assert again.architecture == network.architecture


@settings(deadline=None, max_examples=100)
@given(data=st.data(), n_layers=st.integers(1, 4), dtype=st.sampled_from(DTYPES))
def test_torch_and_keras_layouts_give_the_same(data: Any, n_layers: int, dtype: str) -> None:
    """Kernels of any shape and any values, NaN and infinities among them."""
    state: dict[str, np.ndarray] = {}
    nested: dict[str, dict[str, np.ndarray]] = {}
    for i in range(n_layers):
        shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=5, min_side=1, max_side=4))
        kernel = data.draw(hnp.arrays(np.dtype(dtype), shape))
        bias = data.draw(hnp.arrays(np.dtype(dtype), shape[:1]))
        # A bias that fits the second axis only would mean a transposed convolution.
        state |= {f"layer{i}.weight": kernel, f"layer{i}.bias": bias}
        nested[f"layer{i}"] = {"kernel": np.moveaxis(kernel, (0, 1), (-1, -2)), "bias": bias}
    first = sorted(read_weights(state).layers, key=lambda layer: layer.name)
    second = sorted(read_weights(nested).layers, key=lambda layer: layer.name)
    kept = np.dtype(dtype) if dtype in ("float32", "float64") else np.float32
    for i, (one, other) in enumerate(zip(first, second, strict=True)):
        expected = state[f"layer{i}.weight"].astype(kept)
        np.testing.assert_array_equal(one.kernel, expected)
        if other.kind != "depthwise_conv":
            np.testing.assert_array_equal(other.kernel, expected)
        assert one.kernel.dtype == kept


@settings(deadline=None, max_examples=20)
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=4)))
def test_half_precision_is_read_as_float32(values: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        for dtype in (np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2):
            expected = values.astype(dtype).astype(np.float32)
            for array in (values.astype(dtype), jnp.asarray(values.astype(dtype))):
                layer = read_weights({"fc.weight": array}).layers[0]
                assert layer.kernel.dtype == np.float32
                np.testing.assert_array_equal(layer.kernel, expected)
    for half in (torch.float16, torch.bfloat16, torch.float8_e4m3fn):
        tensor = torch.from_numpy(values).to(half)
        layer = read_weights({"fc.weight": tensor}).layers[0]
        np.testing.assert_array_equal(layer.kernel, tensor.float().numpy())


@pytest.mark.parametrize("empty", [np.ones(()), np.ones((0, 3)), np.ones((3, 0, 2, 2))])
def test_empty_and_0d_tensors_are_skipped(empty: np.ndarray) -> None:
    state = {"fc1.weight": np.ones((2, 3)), "fc2.weight": empty, "fc1.bias": np.ones(0)}
    network = read_weights(state)
    assert len(network.layers) == 1
    assert network.layers[0].bias is None
    assert read_weights({k: torch.from_numpy(v) for k, v in state.items()}).n_parameters == 6


def test_other_byte_orders_strides_and_precisions() -> None:
    values = np.arange(12.0).reshape(3, 4)
    for array in (
        values.astype(">f4"),
        values.astype(">f8"),
        np.asfortranarray(values),
        values.astype(np.longdouble),
        np.repeat(values, 2, axis=1)[:, ::2],
    ):
        kernel = read_weights({"fc.weight": array}).layers[0].kernel
        assert kernel.dtype.isnative
        np.testing.assert_array_equal(kernel, values)


def test_nested_mappings_of_every_manner() -> None:
    kernel, bias = np.ones((3, 2)), np.ones(2)
    loop: dict[str, Any] = {"fc": {"kernel": kernel, "bias": bias}}
    loop["again"] = loop
    deep: Any = {"kernel": kernel}
    for _ in range(200):
        deep = {"block": deep}
    shared: Any = {"fc": {"kernel": kernel}}
    for _ in range(40):  # read through, it would be 2 ** 40 layers
        shared = {"left": shared, "right": shared}
    for source in (
        {"fc": {"kernel": kernel, "bias": bias}},
        {"model": [{"kernel": kernel}, {"bias": bias}]},
        {"model/fc/kernel:0": kernel, "model/fc/bias:0": bias},
        {"params": {"fc": {"kernel": jnp.asarray(kernel)}}},
        {0: {"kernel": kernel}},
        loop,
        shared,
    ):
        assert [layer.kernel.shape for layer in read_weights(source).layers] == [(2, 3)]
    with pytest.raises(UnsupportedModelError):
        read_weights(deep)
