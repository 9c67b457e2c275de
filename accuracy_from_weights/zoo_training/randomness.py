"""Every random number of a training run, from NumPy, so that all backends draw the same ones.

NumPy promises the streams of its bit generators across machines and releases, frameworks do not.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError

# Standard deviation of a standard normal cut at two standard deviations: variance scaling divides
# by it, as Keras and TensorFlow do.
_CUT_NORMAL_STD = 0.87962566103423978

_WEIGHTS, _DROPOUT, _ORDER, _PICK, _NOISE = range(5)


def _generator(seed: int, purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, purpose])))


def weight_generator(seed: int) -> np.random.Generator:
    """Random numbers for a network's initial weights."""
    return _generator(seed, _WEIGHTS)


def order_generator(order_seed: int) -> np.random.Generator:
    """Random numbers for the order of the images: one permutation for each epoch."""
    return _generator(order_seed, _ORDER)


def dropout_bits(seed: int) -> np.random.SFC64:
    """Give a stream of random bytes for a network's dropout."""
    return np.random.SFC64(np.random.SeedSequence([seed, _DROPOUT]))


def draw_dropout_bytes(bits: np.random.SFC64, n_bytes: int) -> NDArray[np.uint8]:
    """Draw the bytes of one training step.

    A value is kept where its byte is at least the recipe's ``dropout_threshold``. Values stand in
    the order of the layers; within a layer by image, row, column, channel.

    Parameters
    ----------
    bits : SFC64
    n_bytes : int

    Returns
    -------
    ndarray of shape (n_bytes,), uint8
    """
    # The generator gives 64 bits at a time: eight times cheaper than a random float for each value.
    words = np.asarray(bits.random_raw(-(-n_bytes // 8)), dtype="<u8")
    return words.view(np.uint8)[:n_bytes]


def pick_images(n_images: int, n_wanted: int, data_seed: int) -> NDArray[np.int64]:
    """Pick images without repeating any, in random order."""
    order = _generator(data_seed, _PICK).permutation(n_images)
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


def _cut_normal(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    values = rng.standard_normal(n)
    while (outside := np.abs(values) > 2.0).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return values


def initial_kernel(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    initialiser: str,
    init_std: float,
) -> NDArray[np.float32]:
    """Draw an initial kernel the way Keras does.

    Parameters
    ----------
    rng : Generator
    shape : tuple of int
        (out, in, *spatial); ``in`` counts the inputs that one output sees.
    initialiser : str
        One of `recipes.INITIALISERS`.
    init_std : float
        Standard deviation of RandomNormal and TruncatedNormal.

    Returns
    -------
    ndarray of shape ``shape``, float32
    """
    n = math.prod(shape)
    receptive = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * receptive, shape[0] * receptive
    if initialiser == "orthogonal":
        return _orthogonal(rng, shape)
    if initialiser == "RandomNormal":
        values = init_std * rng.standard_normal(n)
    elif initialiser == "TruncatedNormal":
        values = init_std * _cut_normal(rng, n)
    elif initialiser == "glorot_normal":
        values = math.sqrt(2.0 / (fan_in + fan_out)) / _CUT_NORMAL_STD * _cut_normal(rng, n)
    elif initialiser == "he_normal":
        values = math.sqrt(2.0 / fan_in) / _CUT_NORMAL_STD * _cut_normal(rng, n)
    elif initialiser == "glorot_uniform":
        values = math.sqrt(6.0 / (fan_in + fan_out)) * rng.uniform(-1.0, 1.0, n)
    elif initialiser == "he_uniform":
        values = math.sqrt(6.0 / fan_in) * rng.uniform(-1.0, 1.0, n)
    else:
        raise ZooError(f"Expected a known initialiser. Received: {initialiser!r}.")
    return values.reshape(shape).astype(np.float32)


def _orthogonal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Orthogonal columns of the kernel as Keras flattens it: (spatial and in) by out."""
    rows, columns = math.prod(shape[1:]), shape[0]
    normal = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(normal)
    # Makes the draw uniform over orthogonal matrices, whatever signs LAPACK prefers.
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    flat = q if rows >= columns else q.T
    return np.ascontiguousarray(flat.T.reshape(shape), dtype=np.float32)
