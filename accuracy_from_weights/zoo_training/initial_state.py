"""Initial values of a network's parameters, the same for all backends."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import POSITION
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo_training.randomness import weight_generator

Shape = tuple[int, ...]

_POSITION_STD = 0.02
_KERAS_EMBEDDING = 0.05
# Standard deviation of a standard normal cut at two standard deviations: variance scaling divides
# by it, as Keras and TensorFlow do.
_CUT_NORMAL_STD = 0.87962566103423978


def is_kernel(name: str, shape: Shape) -> bool:
    """Return whether L2 and weight decay apply to a parameter."""
    return len(shape) >= 2 and name != POSITION


def initial_state(
    recipe: NetworkRecipe, shapes: Mapping[str, Shape]
) -> dict[str, NDArray[np.float32]]:
    """Draw a network's initial parameters, by their names in a PyTorch state dict.

    Kernels, (out, in, *spatial), are drawn by the recipe's initialiser. With ``"torch_default"``
    and ``"keras_default"`` biases, embeddings and recurrent layers, too, begin as they do in that
    framework; with all others biases are 0, embeddings standard normal and recurrent kernels
    orthogonal. Scales are 1. Each parameter's values depend on its name and shape alone.
    """
    state: dict[str, NDArray[np.float32]] = {}
    for name, shape in shapes.items():
        rng = weight_generator(recipe.seed, name)
        values: NDArray[np.floating]
        if name == POSITION:
            values = _POSITION_STD * rng.standard_normal(shape)
        elif len(shape) == 1:
            values = _vector(rng, name, shapes, recipe.initialiser)
        else:
            values = _matrix(rng, name, shapes, recipe)
        state[name] = np.ascontiguousarray(values, np.float32)
    return state


def _vector(
    rng: np.random.Generator, name: str, shapes: Mapping[str, Shape], initialiser: str
) -> NDArray[np.floating]:
    """Draw a bias or a scale."""
    (n,) = shapes[name]
    is_recurrent = "bias_ih" in name or "bias_hh" in name
    if not is_recurrent and not name.endswith("bias"):
        return np.ones(n)
    kernel = shapes.get(name.replace("bias_ih", "weight_hh").replace("bias", "weight"), ())
    # The bias of a normalisation stands beside a scale.
    if initialiser == "torch_default" and len(kernel) > 1:
        return rng.uniform(-1.0, 1.0, n) / math.sqrt(math.prod(kernel[1:]))
    values = np.zeros(n)
    if "bias_ih" in name and n == 4 * kernel[1]:
        # Keras starts with open forget gates.
        values[kernel[1] : 2 * kernel[1]] = 1.0
    return values


def _matrix(
    rng: np.random.Generator, name: str, shapes: Mapping[str, Shape], recipe: NetworkRecipe
) -> NDArray[np.floating]:
    """Draw a kernel the way Keras and PyTorch do, or an embedding."""
    shape, initialiser = shapes[name], recipe.initialiser
    if name.startswith("embedding"):
        if initialiser == "keras_default":
            return rng.uniform(-_KERAS_EMBEDDING, _KERAS_EMBEDDING, shape)
        return rng.standard_normal(shape)
    if initialiser == "torch_default":
        # A recurrent layer goes by the width of its state.
        seen = shapes[name.replace("weight_ih", "weight_hh")]
        return rng.uniform(-1.0, 1.0, shape) / math.sqrt(math.prod(seen[1:]))
    if "weight_hh" in name:
        return _orthogonal(rng, shape)
    n = math.prod(shape)
    receptive = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * receptive, shape[0] * receptive
    if initialiser == "orthogonal":
        return _orthogonal(rng, shape)
    values: NDArray[np.floating]
    if initialiser == "RandomNormal":
        values = recipe.init_std * rng.standard_normal(n)
    elif initialiser == "TruncatedNormal":
        values = recipe.init_std * _cut_normal(rng, n)
    elif initialiser == "glorot_normal":
        values = math.sqrt(2.0 / (fan_in + fan_out)) / _CUT_NORMAL_STD * _cut_normal(rng, n)
    elif initialiser == "he_normal":
        values = math.sqrt(2.0 / fan_in) / _CUT_NORMAL_STD * _cut_normal(rng, n)
    elif initialiser in ("glorot_uniform", "keras_default"):
        values = math.sqrt(6.0 / (fan_in + fan_out)) * rng.uniform(-1.0, 1.0, n)
    elif initialiser == "he_uniform":
        values = math.sqrt(6.0 / fan_in) * rng.uniform(-1.0, 1.0, n)
    else:
        raise ZooError(
            f"{initialiser!r} is no initialiser that this version knows. Install a newer "
            "accuracy-from-weights."
        )
    return values.reshape(shape)


def _cut_normal(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    values = rng.standard_normal(n)
    while (outside := np.abs(values) > 2.0).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return values


def _orthogonal(rng: np.random.Generator, shape: Shape) -> NDArray[np.float32]:
    """Orthogonal columns of the kernel as Keras flattens it: (spatial and in) by out."""
    rows, columns = math.prod(shape[1:]), shape[0]
    normal = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(normal)
    # Makes the draw uniform over orthogonal matrices, whatever signs LAPACK prefers.
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    flat = q if rows >= columns else q.T
    return np.ascontiguousarray(flat.T.reshape(shape), dtype=np.float32)
