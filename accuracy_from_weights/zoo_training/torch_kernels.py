"""Kernels in Triton for stacks of networks on a GPU; PyTorch for CUDA brings Triton with it.

A patch is read where it lies in the values of the layer below, so that none is written out, and
activation and dropout cost no pass of their own. A program works on rows of a matrix: one row a
place of an image, one column a filter.
"""

from __future__ import annotations

from typing import Any

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
def _corners(
    rows, inside, network, index, index_stride, n_images, SIDE, DEPTH, OUT, STRIDE, INDEXED
):
    """Find where the patches begin that belong to places of the images."""
    image = rows // (OUT * OUT)
    place = rows % (OUT * OUT)
    if INDEXED:
        source = tl.load(index + network * index_stride + image, mask=inside, other=0)
    else:
        source = network * n_images + image
    corner = ((place // OUT) * SIDE + place % OUT) * STRIDE * DEPTH
    return source * (SIDE * SIDE * DEPTH) + corner


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
    source = _corners(
        rows, inside, network, index, index_stride, n_images, SIDE, DEPTH, OUT, STRIDE, INDEXED
    )
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
    """Compute a convolution's values, activated by tanh or by relu.

    ``x`` has the shape (k, b, side, side, depth), or (n, side, side, depth) where ``index``, (k, b)
    and int64, names each network's images. ``weights`` are (k, >= layer.stop), what dropout keeps
    is (k, b * positions * n_out) and uint8, ``out`` is (k, b, layer.side, layer.side, n_out).
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
        INDEXED=index is not None,
        DROPOUT=kept is not None,
        TANH=tanh,
        ROWS=TUNING["rows"],
        INNER=TUNING["inner"],
        **_constants(layer, x),
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
        source = _corners(
            rows, inside, network, index, index_stride, n_images, SIDE, DEPTH, OUT, STRIDE, INDEXED
        )
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

    ``gradient``, of the shape of the values, is that of the sums which the activation is given;
    ``sums`` are (SPLITS, k, >= layer.stop).
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
        INDEXED=index is not None,
        SPLITS=SPLITS,
        ROWS=TUNING["rows"] // 2,
        TAPS=taps,
        **_constants(layer, x),
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

    ``values``, ``kept`` and ``out`` are the layer's below, with the shape (k, b, side, side,
    depth); the other arguments are as in `forward` and `backward_weights`.
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
        DROPOUT=kept is not None,
        TANH=tanh,
        ROWS=TUNING["rows"],
        DEPTH_2=_power_of_two(layer.channels),
        **_constants(layer, values),
    )


def _constants(layer: StackLayer, below: Tensor) -> dict[str, Any]:
    """Return what all kernels are compiled for: a layer's geometry, and options of Triton."""
    return {
        "SIDE": below.shape[-2],
        "DEPTH": layer.channels,
        "WIDTH": layer.n_out,
        "WIDTH_2": _power_of_two(layer.n_out),
        "OUT": layer.side,
        "KERNEL": layer.kernel,
        "STRIDE": layer.stride,
        "PRECISION": TUNING["precision"],
        "num_warps": TUNING["warps"],
        "num_stages": TUNING["stages"],
    }


def _power_of_two(n: int) -> int:
    """Return the power of two that holds ``n``; products of matrices need at least 16."""
    return max(16, triton.next_power_of_2(n))
