"""NumPy's Philox on any device: the same words as `randomness.random_words`, many keys at once."""

from __future__ import annotations

import functools
from types import ModuleType

import torch
from torch import Tensor

from accuracy_from_weights.zoo_training.randomness import WORDS_IN_BLOCK, blocks_of

_ROUNDS = 10
_HALF = 0xFFFFFFFF


def _signed(word: int) -> int:
    """Return the int64 that has the bits of an unsigned word."""
    return word - (1 << 64) if word >> 63 else word


_MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
_WEYL = _signed(0x9E3779B97F4A7C15), _signed(0xBB67AE8584CAA73B)


def random_words(keys: Tensor, first_block: int | Tensor, n_words: int) -> Tensor:
    """Return random words of 64 bits for each key, from a block of its stream on.

    Parameters
    ----------
    keys : Tensor of shape (k, 2), int64
        The bits of NumPy's unsigned keys.
    first_block : int, or Tensor of one int64
    n_words : int

    Returns
    -------
    Tensor of shape (k, n_words), int64
        The bits of NumPy's unsigned words.
    """
    n_blocks = blocks_of(n_words)
    # NumPy counts before it draws.
    counter = torch.arange(1, n_blocks + 1, device=keys.device) + first_block
    zero = torch.zeros((), dtype=torch.int64, device=keys.device)
    c0, c1, c2, c3 = counter[None], zero, zero, zero
    k0, k1 = keys[:, :1], keys[:, 1:]
    for _ in range(_ROUNDS):
        high0, low0 = _product(c0, _MULTIPLIERS[0])
        high1, low1 = _product(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + _WEYL[0], k1 + _WEYL[1]
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

    Parameters
    ----------
    keys : Tensor of shape (k, 2), int64
    thresholds : Tensor of shape (k, 1), uint8
    step : Tensor of one int64
        Counted from 0; a tensor, so that a recorded step counts too.
    kept : Tensor of shape (k, n_bytes), uint8
        Of whole blocks, as `padded_bytes` counts them; set in place.
    """
    kernels = triton_kernels(keys.device)
    if kernels is not None:
        kernels.draw_kept(keys, thresholds, step, kept)
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
def triton_kernels(device: torch.device) -> ModuleType | None:
    """Return the module of fused kernels where they run and draw the right words, else None."""
    if device.type != "cuda":
        return None
    keys = torch.arange(4, device=device).view(2, 2)
    thresholds = torch.tensor([[0], [100]], dtype=torch.uint8, device=device)
    kept = torch.empty((2, 96), dtype=torch.uint8, device=device)
    try:
        from accuracy_from_weights.zoo_training import torch_kernels

        torch_kernels.draw_kept(keys, thresholds, torch.tensor(5, device=device), kept)
        words = random_words(keys, 5 * 3, 12).contiguous().view(torch.uint8)
        right = torch.equal(kept.bool(), words >= thresholds)
    except Exception:  # noqa: BLE001 - whatever a compiler raises, the plain operations are right
        return None
    return torch_kernels if right else None
