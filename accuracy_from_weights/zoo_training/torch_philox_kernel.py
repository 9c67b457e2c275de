"""Dropout's random numbers on a GPU, by a kernel in Triton; PyTorch for CUDA brings it with it."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from accuracy_from_weights.zoo_training.randomness import MULTIPLIERS, WEYL, WORDS_IN_BLOCK

_MULTIPLIER_0, _MULTIPLIER_1 = tl.constexpr(MULTIPLIERS[0]), tl.constexpr(MULTIPLIERS[1])
_WEYL_0, _WEYL_1 = tl.constexpr(WEYL[0]), tl.constexpr(WEYL[1])


@triton.jit
def _kept_kernel(keys, thresholds, step, kept, n_blocks, BLOCK: tl.constexpr):
    network = tl.program_id(1)
    block = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    threshold = tl.load(thresholds + network).to(tl.uint64)
    k0 = tl.load(keys + 2 * network).to(tl.uint64, bitcast=True)
    k1 = tl.load(keys + 2 * network + 1).to(tl.uint64, bitcast=True)
    # NumPy counts before it draws.
    c0 = (tl.load(step) * n_blocks + 1 + block).to(tl.uint64)
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
    """Do as `torch_philox.draw_kept`."""
    n_blocks = kept.shape[1] // (8 * WORDS_IN_BLOCK)
    grid = (triton.cdiv(n_blocks, 128), len(kept))
    _kept_kernel[grid](keys, thresholds, step, kept.view(torch.int64), n_blocks, 128)
