"""NumPy's Philox on any device: the same words as `randomness.random_words`, many keys at once."""

from __future__ import annotations

import functools
from collections.abc import Callable

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


def random_words(keys: Tensor, first_block: int, n_words: int) -> Tensor:
    """Return random words of 64 bits for each key, from a block of its stream on.

    Parameters
    ----------
    keys : Tensor of shape (k, 2), int64
        The bits of NumPy's unsigned keys.
    first_block, n_words : int

    Returns
    -------
    Tensor of shape (k, n_words), int64
        The bits of NumPy's unsigned words.
    """
    n_blocks = blocks_of(n_words)
    # NumPy counts before it draws.
    counter = torch.arange(first_block + 1, first_block + 1 + n_blocks, device=keys.device)
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


def dropout_bytes(keys: Tensor, step: int, n_bytes: int) -> Tensor:
    """Return the random bytes of one training step for each key: (k, n_bytes), uint8."""
    n_words = -(-n_bytes // 8)
    draw = fused_words(keys.device) if keys.is_cuda else random_words
    words = draw(keys, step * blocks_of(n_words), n_words)
    return words.contiguous().view(torch.uint8)[:, :n_bytes]


@functools.cache
def fused_words(device: torch.device) -> Callable[[Tensor, int, int], Tensor]:
    """Return `random_words` as one kernel, where the compiler for a device gets it right.

    A compiler that takes the overflow of signed words for impossible gets it wrong; then, or where
    there is no compiler, the 250 operations run one by one.
    """
    sample = torch.arange(4, device=device).view(2, 2)
    fused: Callable[[Tensor, int, int], Tensor] = torch.compile(random_words, dynamic=True)
    try:
        if torch.equal(fused(sample, 5, 41), random_words(sample, 5, 41)):
            return fused
    except Exception:  # noqa: BLE001 - whatever a compiler raises, the plain operations are right
        return random_words
    return random_words
