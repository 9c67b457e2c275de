"""Kernels in Triton for stacks of networks on a GPU; PyTorch for CUDA brings Triton with it.

A patch is read where it lies in the values of the layer below, so that none is written out, and
activation and dropout cost no pass of their own. A program works on rows of a matrix: one row a
place of an image, one column a filter.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from accuracy_from_weights.zoo_training.torch_stack_buffers import StackLayer

SPLITS = 8
"""Into how many sums a layer's gradient is split: one network alone keeps as many programs busy."""

TUNING: dict[str, Any] = {
    "rows": 128,
    "inner": 16,
    "taps": 64,
    "warps": 2,
    "stages": 1,
    "precision": "ieee",
}
"""Rows and columns that a program works on at once, its warps, how many loads it has under way, and
the precision of products."""

_MULTIPLIER_0 = tl.constexpr(0xD2E7470EE14C6C93)
_MULTIPLIER_1 = tl.constexpr(0xCA5A826395121157)
_WEYL_0 = tl.constexpr(0x9E3779B97F4A7C15)
_WEYL_1 = tl.constexpr(0xBB67AE8584CAA73B)
_BLOCK_BYTES = 32


@triton.jit
def _kept_kernel(keys, thresholds, step, kept, blocks_of_step, n_blocks, BLOCK: tl.constexpr):
    network = tl.program_id(1)
    block = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    threshold = tl.load(thresholds + network).to(tl.uint64)
    k0 = tl.load(keys + 2 * network).to(tl.uint64, bitcast=True)
    k1 = tl.load(keys + 2 * network + 1).to(tl.uint64, bitcast=True)
    # NumPy counts before it draws.
    c0 = (tl.load(step) * blocks_of_step + 1 + block).to(tl.uint64)
    c1 = tl.zeros((BLOCK,), tl.uint64)
    c2 = tl.zeros((BLOCK,), tl.uint64)
    c3 = tl.zeros((BLOCK,), tl.uint64)
    multiplier_0 = tl.full((BLOCK,), _MULTIPLIER_0, tl.uint64)
    multiplier_1 = tl.full((BLOCK,), _MULTIPLIER_1, tl.uint64)
    for _ in tl.static_range(10):
        high_0 = tl.umulhi(c0, multiplier_0)
        low_0 = c0 * multiplier_0
        high_1 = tl.umulhi(c2, multiplier_1)
        low_1 = c2 * multiplier_1
        c0 = high_1 ^ c1 ^ k0
        c1 = low_1
        c2 = high_0 ^ c3 ^ k1
        c3 = low_0
        k0 = k0 + tl.full((), _WEYL_0, tl.uint64)
        k1 = k1 + tl.full((), _WEYL_1, tl.uint64)
    out = kept + (network.to(tl.int64) * n_blocks + block) * 4
    for word in tl.static_range(4):
        if word == 0:
            drawn = c0
        elif word == 1:
            drawn = c1
        elif word == 2:
            drawn = c2
        else:
            drawn = c3
        packed = tl.zeros((BLOCK,), tl.uint64)
        for byte in tl.static_range(8):
            value = (drawn >> (8 * byte)) & 0xFF
            packed = packed | ((value >= threshold).to(tl.uint64) << (8 * byte))
        tl.store(out + word, packed.to(tl.int64, bitcast=True), mask=block < n_blocks)


def draw_kept(keys: Tensor, thresholds: Tensor, step: Tensor, kept: Tensor) -> None:
    """Set 1 where a step's random byte is at least its network's threshold, else 0.

    Parameters
    ----------
    keys : Tensor of shape (k, 2), int64
    thresholds : Tensor of shape (k, 1), uint8
    step : Tensor of one int64
    kept : Tensor of shape (k, n_bytes), uint8
        Where ``n_bytes`` is a multiple of 32.
    """
    n_blocks = kept.shape[1] // _BLOCK_BYTES
    grid = (triton.cdiv(n_blocks, 128), len(kept))
    _kept_kernel[grid](keys, thresholds, step, kept.view(torch.int64), n_blocks, n_blocks, 128)


@triton.jit
def _tanh(x):
    """Tanh to the last bits; of tiny values too, which tiny kernels give (after Cephes)."""
    z = x * x
    small = -5.70498872745e-3 * z + 2.06390887954e-2
    small = small * z - 5.37397155531e-2
    small = small * z + 1.33314422036e-1
    small = small * z - 3.33332819422e-1
    small = small * z * x + x
    shrunk = tl.exp(-2.0 * tl.abs(x))
    large = (1.0 - shrunk) / (1.0 + shrunk)
    return tl.where(tl.abs(x) < 0.625, small, tl.where(x < 0, -large, large))


@triton.jit
def _forward_kernel(
    x,
    index,
    weights,
    kept,
    out,
    n_images,
    index_stride,
    weights_stride,
    kept_stride,
    SIDE: tl.constexpr,
    DEPTH: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    INDEXED: tl.constexpr,
    DROPOUT: tl.constexpr,
    TANH: tl.constexpr,
    ROWS: tl.constexpr,
    INNER: tl.constexpr,
    WIDTH_2: tl.constexpr,
    PRECISION: tl.constexpr,
):
    network = tl.program_id(1).to(tl.int64)
    places: tl.constexpr = OUT * OUT
    n_in: tl.constexpr = KERNEL * KERNEL * DEPTH
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rows < n_images * places
    image = rows // places
    place = rows % places
    if INDEXED:
        source = tl.load(index + network * index_stride + image, mask=inside, other=0)
    else:
        source = network * n_images + image
    corner = ((place // OUT) * SIDE + place % OUT) * STRIDE * DEPTH
    source = source * (SIDE * SIDE * DEPTH) + corner
    filters = tl.arange(0, WIDTH_2)
    kernel = weights + network * weights_stride
    total = tl.zeros((ROWS, WIDTH_2), tl.float32)
    for start in range(0, n_in, INNER):
        taps = start + tl.arange(0, INNER)
        offset = taps // (KERNEL * DEPTH) * (SIDE * DEPTH) + taps % (KERNEL * DEPTH)
        patches = tl.load(
            x + source[:, None] + offset[None, :],
            mask=inside[:, None] & (taps < n_in)[None, :],
            other=0.0,
        )
        part = tl.load(
            kernel + taps[:, None] * WIDTH + filters[None, :],
            mask=(taps < n_in)[:, None] & (filters < WIDTH)[None, :],
            other=0.0,
        )
        total = tl.dot(patches, part, total, input_precision=PRECISION)
    bias = tl.load(kernel + n_in * WIDTH + filters, mask=filters < WIDTH, other=0.0)
    total = total + bias[None, :]
    total = _tanh(total) if TANH else tl.where(total <= 0.0, 0.0, total)
    places_of_values = rows[:, None] * WIDTH + filters[None, :]
    valid = inside[:, None] & (filters < WIDTH)[None, :]
    if DROPOUT:
        keeps = tl.load(kept + network * kept_stride + places_of_values, mask=valid, other=0)
        total = total * keeps.to(tl.float32)
    tl.store(out + network * n_images * (places * WIDTH) + places_of_values, total, mask=valid)


def forward(
    layer: StackLayer,
    x: Tensor,
    index: Tensor | None,
    weights: Tensor,
    kept: Tensor | None,
    out: Tensor,
    tanh: bool,
) -> None:
    """Compute a convolution's values.

    Parameters
    ----------
    layer : StackLayer
    x : Tensor of shape (k, b, side, side, depth), or (n, side, side, depth) with an index
    index : Tensor of shape (k, b), int64, or None
        Each network's images.
    weights : Tensor of shape (k, >= layer.stop)
    kept : Tensor of shape (k, b * positions * n_out), uint8, or None
    out : Tensor of shape (k, b, layer.side, layer.side, n_out)
    tanh : bool
        Else relu.
    """
    k, b = out.shape[:2]
    grid = (triton.cdiv(b * layer.positions, TUNING["rows"]), k)
    _forward_kernel[grid](
        x,
        x if index is None else index,
        weights[:, layer.start :],
        x if kept is None else kept,
        out,
        b,
        0 if index is None else index.stride(0),
        weights.stride(0),
        0 if kept is None else kept.stride(0),
        SIDE=x.shape[-2],
        DEPTH=layer.channels,
        WIDTH=layer.n_out,
        OUT=layer.side,
        KERNEL=layer.kernel,
        STRIDE=layer.stride,
        INDEXED=index is not None,
        DROPOUT=kept is not None,
        TANH=tanh,
        ROWS=TUNING["rows"],
        INNER=TUNING["inner"],
        WIDTH_2=_power_of_two(layer.n_out),
        PRECISION=TUNING["precision"],
        num_warps=TUNING["warps"],
        num_stages=TUNING["stages"],
    )


@triton.jit
def _weights_kernel(
    x,
    index,
    gradient,
    sums,
    n_images,
    index_stride,
    sums_stride,
    network_stride,
    SIDE: tl.constexpr,
    DEPTH: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    INDEXED: tl.constexpr,
    SPLITS: tl.constexpr,
    ROWS: tl.constexpr,
    TAPS: tl.constexpr,
    WIDTH_2: tl.constexpr,
    PRECISION: tl.constexpr,
):
    split = tl.program_id(1)
    network = tl.program_id(2).to(tl.int64)
    places: tl.constexpr = OUT * OUT
    n_in: tl.constexpr = KERNEL * KERNEL * DEPTH
    n_rows = n_images * places
    taps = tl.program_id(0) * TAPS + tl.arange(0, TAPS)
    offset = taps // (KERNEL * DEPTH) * (SIDE * DEPTH) + taps % (KERNEL * DEPTH)
    filters = tl.arange(0, WIDTH_2)
    upper = gradient + network * n_rows * WIDTH
    total = tl.zeros((TAPS, WIDTH_2), tl.float32)
    for start in range(split * ROWS, n_rows, SPLITS * ROWS):
        rows = start + tl.arange(0, ROWS)
        inside = rows < n_rows
        image = rows // places
        place = rows % places
        if INDEXED:
            source = tl.load(index + network * index_stride + image, mask=inside, other=0)
        else:
            source = network * n_images + image
        corner = ((place // OUT) * SIDE + place % OUT) * STRIDE * DEPTH
        source = source * (SIDE * SIDE * DEPTH) + corner
        patches = tl.load(
            x + source[None, :] + offset[:, None],
            mask=inside[None, :] & (taps < n_in)[:, None],
            other=0.0,
        )
        # The bias stands after the kernel, as if it had an input of 1.
        patches = tl.where((taps == n_in)[:, None], 1.0, patches)
        part = tl.load(
            upper + rows[:, None] * WIDTH + filters[None, :],
            mask=inside[:, None] & (filters < WIDTH)[None, :],
            other=0.0,
        )
        total = tl.dot(patches, part, total, input_precision=PRECISION)
    tl.store(
        sums
        + split * sums_stride
        + network * network_stride
        + taps[:, None] * WIDTH
        + filters[None, :],
        total,
        mask=(taps <= n_in)[:, None] & (filters < WIDTH)[None, :],
    )


def backward_weights(
    layer: StackLayer, x: Tensor, index: Tensor | None, gradient: Tensor, sums: Tensor
) -> None:
    """Compute the gradients of a convolution's kernel and bias, in `SPLITS` sums.

    Parameters
    ----------
    layer, x, index
        As in `forward`.
    gradient : Tensor of shape (k, b, layer.side, layer.side, n_out)
        Of the sums that the activation is given.
    sums : Tensor of shape (SPLITS, k, >= layer.stop)
    """
    k, b = gradient.shape[:2]
    taps = min(TUNING["taps"], _power_of_two(layer.n_in + 1))
    grid = (triton.cdiv(layer.n_in + 1, taps), SPLITS, k)
    _weights_kernel[grid](
        x,
        x if index is None else index,
        gradient,
        sums[:, :, layer.start :],
        b,
        0 if index is None else index.stride(0),
        sums.stride(0),
        sums.stride(1),
        SIDE=x.shape[-2],
        DEPTH=layer.channels,
        WIDTH=layer.n_out,
        OUT=layer.side,
        KERNEL=layer.kernel,
        STRIDE=layer.stride,
        INDEXED=index is not None,
        SPLITS=SPLITS,
        ROWS=TUNING["rows"] // 2,
        TAPS=taps,
        WIDTH_2=_power_of_two(layer.n_out),
        PRECISION=TUNING["precision"],
        num_warps=TUNING["warps"],
        num_stages=TUNING["stages"],
    )


@triton.jit
def _values_kernel(
    gradient,
    weights,
    values,
    kept,
    out,
    n_images,
    weights_stride,
    kept_stride,
    SIDE: tl.constexpr,
    DEPTH: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    DROPOUT: tl.constexpr,
    TANH: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH_2: tl.constexpr,
    DEPTH_2: tl.constexpr,
    PRECISION: tl.constexpr,
):
    # Pixels that stand alike to the stride are reached by the same taps.
    first_row = tl.program_id(1) // STRIDE
    first_column = tl.program_id(1) % STRIDE
    network = tl.program_id(2).to(tl.int64)
    some: tl.constexpr = (SIDE + STRIDE - 1) // STRIDE
    reach: tl.constexpr = (KERNEL + STRIDE - 1) // STRIDE
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    image = rows // (some * some)
    row = rows // some % some
    column = rows % some
    y = row * STRIDE + first_row
    x = column * STRIDE + first_column
    inside = (image < n_images) & (y < SIDE) & (x < SIDE)
    filters = tl.arange(0, WIDTH_2)
    below = tl.arange(0, DEPTH_2)
    upper = gradient + network * n_images * (OUT * OUT * WIDTH)
    kernel = weights + network * weights_stride
    total = tl.zeros((ROWS, DEPTH_2), tl.float32)
    for down in range(reach):
        for right in range(reach):
            i = first_row + down * STRIDE
            j = first_column + right * STRIDE
            if (i < KERNEL) & (j < KERNEL):
                r = row - down
                c = column - right
                there = inside & (r >= 0) & (r < OUT) & (c >= 0) & (c < OUT)
                part = tl.load(
                    upper + ((image * OUT + r) * OUT + c)[:, None] * WIDTH + filters[None, :],
                    mask=there[:, None] & (filters < WIDTH)[None, :],
                    other=0.0,
                )
                turned = tl.load(
                    kernel + ((i * KERNEL + j) * DEPTH + below)[None, :] * WIDTH + filters[:, None],
                    mask=(below < DEPTH)[None, :] & (filters < WIDTH)[:, None],
                    other=0.0,
                )
                total = tl.dot(part, turned, total, input_precision=PRECISION)
    place = ((image * SIDE + y) * SIDE + x)[:, None] * DEPTH + below[None, :]
    valid = inside[:, None] & (below < DEPTH)[None, :]
    base = network * n_images * (SIDE * SIDE * DEPTH)
    value = tl.load(values + base + place, mask=valid, other=0.0)
    if TANH:
        total = total * (1.0 - value * value)
        if DROPOUT:
            keeps = tl.load(kept + network * kept_stride + place, mask=valid, other=0)
            total = total * keeps.to(tl.float32)
    else:
        # What dropout removed is 0, as what relu did.
        total = tl.where(value <= 0.0, 0.0, total)
    tl.store(out + base + place, total, mask=valid)


def backward_values(
    layer: StackLayer,
    gradient: Tensor,
    weights: Tensor,
    values: Tensor,
    kept: Tensor | None,
    out: Tensor,
    tanh: bool,
) -> None:
    """Compute the gradient of the sums that the activation below a convolution was given.

    Parameters
    ----------
    layer : StackLayer
    gradient : Tensor of shape (k, b, layer.side, layer.side, n_out)
    weights : Tensor of shape (k, >= layer.stop)
    values, out : Tensor of shape (k, b, side, side, depth)
        Of the layer below.
    kept : Tensor of shape (k, b * side * side * depth), uint8, or None
    tanh : bool
    """
    k, b, side = values.shape[:3]
    some = triton.cdiv(side, layer.stride)
    grid = (triton.cdiv(b * some * some, TUNING["rows"]), layer.stride**2, k)
    _values_kernel[grid](
        gradient,
        weights[:, layer.start :],
        values,
        values if kept is None else kept,
        out,
        b,
        weights.stride(0),
        0 if kept is None else kept.stride(0),
        SIDE=side,
        DEPTH=layer.channels,
        WIDTH=layer.n_out,
        OUT=layer.side,
        KERNEL=layer.kernel,
        STRIDE=layer.stride,
        DROPOUT=kept is not None,
        TANH=tanh,
        ROWS=TUNING["rows"],
        WIDTH_2=_power_of_two(layer.n_out),
        DEPTH_2=_power_of_two(layer.channels),
        PRECISION=TUNING["precision"],
        num_warps=TUNING["warps"],
        num_stages=TUNING["stages"],
    )


def _power_of_two(n: int) -> int:
    """Return the power of two that holds ``n``; products of matrices need at least 16."""
    return max(16, triton.next_power_of_2(n))
