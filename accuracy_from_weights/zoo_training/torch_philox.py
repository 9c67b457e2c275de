"""NumPy's Philox on any device: the same words as `randomness.random_words`, many keys at once."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from accuracy_from_weights.zoo_training.randomness import (
    MULTIPLIERS,
    WEYL,
    WORDS_IN_BLOCK,
    blocks_of,
)

_ROUNDS = 10
_HALF = 0xFFFFFFFF


def _signed(word: int) -> int:
    """Return the int64 that has the bits of an unsigned word."""
    return word - (1 << 64) if word >> 63 else word


def random_words(keys: Tensor, first_block: int | Tensor, n_words: int) -> Tensor:
    """Return random words of 64 bits for each key, from a block of its stream on.

    Keys, (k, 2), and words, (k, n_words), are int64 and have the bits of NumPy's unsigned ones;
    ``first_block`` may be a tensor of one int64.
    """
    n_blocks = blocks_of(n_words)
    # NumPy counts before it draws.
    counter = torch.arange(1, n_blocks + 1, device=keys.device) + first_block
    zero = torch.zeros((), dtype=torch.int64, device=keys.device)
    c0, c1, c2, c3 = counter[None], zero, zero, zero
    k0, k1 = keys[:, :1], keys[:, 1:]
    for _ in range(_ROUNDS):
        high0, low0 = _product(c0, MULTIPLIERS[0])
        high1, low1 = _product(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + _signed(WEYL[0]), k1 + _signed(WEYL[1])
    words = torch.stack(torch.broadcast_tensors(c0, c1, c2, c3), -1)
    return words.reshape(len(keys), n_blocks * WORDS_IN_BLOCK)[:, :n_words]


def _product(x: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """Return the upper and the lower 64 bits of the unsigned product of 128."""
    a1, a0 = (x >> 32) & _HALF, x & _HALF
    b1, b0 = multiplier >> 32, multiplier & _HALF
    # None of the sums of halves leaves 64 bits; a right shift has to bring zeros in.
    middle = a1 * b0 + (((a0 * b0) >> 32) & _HALF)
    other = a0 * b1 + (middle & _HALF)
    high = a1 * b1 + ((middle >> 32) & _HALF) + ((other >> 32) & _HALF)
    return high, x * _signed(multiplier)


def draw_kept(keys: Tensor, thresholds: Tensor, step: Tensor, kept: Tensor) -> None:
    """Set 1 where a step's random byte is at least its network's threshold, else 0.

    Keys are (k, 2), int64, thresholds (k, 1), uint8, and the step, counted from 0, is a tensor of
    one int64, so that a recorded step counts too. ``kept``, (k, n_bytes), uint8, holds whole
    blocks, as `padded_bytes` counts them, and is set in place.
    """
    if triton_runs(keys.device):
        from accuracy_from_weights.zoo_training import torch_philox_kernel

        torch_philox_kernel.draw_kept(keys, thresholds, step, kept)
        return
    n_words = kept.shape[1] // 8
    words = random_words(keys, step * blocks_of(n_words), n_words)
    torch.ge(words.contiguous().view(torch.uint8), thresholds, out=kept.view(torch.bool))


def padded_bytes(n_bytes: int) -> int:
    """Return the bytes of the blocks that hold ``n_bytes``."""
    return blocks_of(-(-n_bytes // 8)) * WORDS_IN_BLOCK * 8


def epoch_orders(keys: Tensor, epoch: int, n: int) -> Tensor:
    """Return each key's order of ``n`` examples, as `randomness.epoch_order`: (k, n), int64."""
    return random_words(keys, epoch * blocks_of(n), n).argsort(dim=1, stable=True)


@functools.cache
def triton_runs(device: torch.device) -> bool:
    """Return whether kernels of Triton run on a device and draw the right words."""
    if device.type != "cuda":
        return False
    keys = torch.arange(4, device=device).view(2, 2)
    thresholds = torch.tensor([[0], [100]], dtype=torch.uint8, device=device)
    kept = torch.empty((2, 96), dtype=torch.uint8, device=device)
    try:
        from accuracy_from_weights.zoo_training import torch_philox_kernel

        torch_philox_kernel.draw_kept(keys, thresholds, torch.tensor(5, device=device), kept)
        words = random_words(keys, 5 * 3, 12).contiguous().view(torch.uint8)
        return torch.equal(kept.bool(), words >= thresholds)
    except Exception:  # noqa: BLE001 - whatever a compiler raises, the plain operations are right
        return False
