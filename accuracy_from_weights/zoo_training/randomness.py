"""Every random number of a training run, from NumPy's bit generators.

NumPy promises their streams across machines and releases, frameworks do not. What is drawn again
and again during training, dropout and the order of examples, comes from a generator whose words can
be computed in any order: Philox 4x64 with ten rounds. `torch_philox` computes the same words on a
device.

Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

WORDS_IN_BLOCK = 4
"""Words of 64 bits that belong to one value of the counter."""
MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
WEYL = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
"""Constants of the rounds, for those who compute the words without NumPy."""

_WEIGHTS, _DROPOUT, _ORDER, _PICK, _NOISE = range(5)


def _generator(seed: int, *purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, *purpose])))


def weight_generator(seed: int, name: str) -> np.random.Generator:
    """Return random numbers for the initial values of one parameter."""
    return _generator(seed, _WEIGHTS, zlib.crc32(name.encode()))


def order_key(order_seed: int) -> NDArray[np.uint64]:
    """Return the key, of shape (2,), of the words that order a network's examples."""
    return _key(order_seed, _ORDER)


def dropout_key(seed: int) -> NDArray[np.uint64]:
    """Return the key, of shape (2,), of the words that decide a network's dropout."""
    return _key(seed, _DROPOUT)


def _key(seed: int, purpose: int) -> NDArray[np.uint64]:
    state = np.random.SeedSequence([seed, purpose]).generate_state(2, np.uint64)
    return state.astype(np.uint64)


def blocks_of(n_words: int) -> int:
    """Return how many blocks hold ``n_words`` words."""
    return -(-n_words // WORDS_IN_BLOCK)


def random_words(key: NDArray[np.uint64], first_block: int, n_words: int) -> NDArray[np.uint64]:
    """Return ``n_words`` words of 64 random bits, from a block of the key's stream on."""
    words = np.random.Philox(key=key, counter=first_block).random_raw(n_words)
    return np.asarray(words, dtype="<u8")


def epoch_order(key: NDArray[np.uint64], epoch: int, n: int) -> NDArray[np.int64]:
    """Return the order of ``n`` examples in an epoch: that of as many random words."""
    words = random_words(key, epoch * blocks_of(n), n)
    return np.argsort(words.view(np.int64), kind="stable").astype(np.int64)


def dropout_bytes(key: NDArray[np.uint64], step: int, n_bytes: int) -> NDArray[np.uint8]:
    """Return the random bytes of one training step, counted from 0.

    A value is kept where its byte is at least the recipe's ``dropout_threshold``. Values stand in
    the order of the layers; within a layer by example, place, channel.
    """
    n_words = -(-n_bytes // 8)
    words = random_words(key, step * blocks_of(n_words), n_words)
    return words.view(np.uint8)[:n_bytes]


def pick_examples(n: int, n_wanted: int, data_seed: int) -> NDArray[np.int64]:
    """Pick examples without repeating any, in random order."""
    order = _generator(data_seed, _PICK).permutation(n)
    return order[:n_wanted].astype(np.int64)


def add_label_noise(
    labels: NDArray[np.int64], n_classes: int, fraction: float, data_seed: int
) -> NDArray[np.int64]:
    """Draw a fraction of the labels anew from all classes, the right one among them."""
    if fraction == 0.0:
        return labels
    rng = _generator(data_seed, _NOISE)
    drawn = rng.integers(n_classes, size=len(labels))
    return np.where(rng.random(len(labels)) < fraction, drawn, labels)
