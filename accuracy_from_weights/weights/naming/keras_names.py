"""Keras's and Flax's naming convention: one layer's variables become kernels and normalisations.

Kernels are named ``kernel`` and laid out as (*spatial, in, out).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from accuracy_from_weights.weights.found_layers import (
    KERAS_EPSILON,
    TORCH_EPSILON,
    Kernel,
    Normalisation,
    Part,
)
from accuracy_from_weights.weights.layers import Array, Path
from accuracy_from_weights.weights.naming.recurrent import from_keras_gru, recurrent_kernels
from accuracy_from_weights.weights.order.chaining import Block

COMPOSITE_ATTRIBUTES = (
    "query_dense",
    "_query_dense",
    "key_dense",
    "_key_dense",
    "value_dense",
    "_value_dense",
    "output_dense",
    "_output_dense",
    "forward_layer",
    "backward_layer",
    "cell",
    "cells",
    "layer",
)
"""Where Keras's own composite layers keep their parts, in the order of data flow."""

VARIABLE_NAMES = {
    "kernel",
    "recurrent_kernel",
    "depthwise_kernel",
    "pointwise_kernel",
    "embeddings",
    "embedding",
    "position_embeddings",
    "gamma",
    "beta",
    "scale",
    "moving_mean",
    "moving_variance",
}
"""Of the variables that are read, in Keras and in Flax."""

_PROJECTION_ORDER = ("query", "key", "value", "out")
_PROJECTION = re.compile(r"_?(query|key|value|out)(?:put|_proj|_dense)*|attention_(out)put")


@dataclass(frozen=True, slots=True)
class KerasGroup:
    """The variables of one layer, its own ones only.

    Attributes
    ----------
    path : tuple of str
        The layer's name, after those of the models and layers around it.
    variables : mapping of str to ndarray
        By Keras's names: ``kernel``, ``bias``, ``gamma``, ``moving_mean``, ...
    class_name : str
        Of the Keras class; guessed from the path where a file does not say.
    config : mapping
        Of the layer, as far as it is known: ``epsilon`` and ``equation`` are used.
    is_attention : bool
        Whether the layer is one of attention's projections.
    """

    path: Path
    variables: Mapping[str, Array]
    class_name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    is_attention: bool = False


def blocks_of_keras_groups(groups: Iterable[KerasGroup]) -> list[Block]:
    """Return the kernels and normalisations of each layer, in the order given."""
    return [Block(group.path, tuple(_parts(group))) for group in _with_attention([*groups])]


def class_from_name(name: str) -> str:
    """Fold a layer's class or its default name: ``conv2d_transpose_3`` -> ``conv2dtranspose``."""
    return re.sub(r"_\d+$", "", name).replace("_", "").lower()


def attention_projections(names: Iterable[str]) -> list[str]:
    """Return the layers of a composite layer that are attention's query, key, value and out."""
    found: dict[str, str] = {}
    for name in names:
        match = _PROJECTION.fullmatch(name)
        if match is not None:
            found[match[1] or match[2]] = name
    if not {"query", "key", "value"} <= {*found}:
        return []
    return [found[word] for word in _PROJECTION_ORDER if word in found]


def _with_attention(groups: Sequence[KerasGroup]) -> list[KerasGroup]:
    """Mark attention's projections, which files list by alphabet, and bring them into order."""
    around: dict[Path, dict[str, KerasGroup]] = {}
    for group in groups:
        if group.path and "kernel" in group.variables:
            around.setdefault(group.path[:-1], {})[group.path[-1]] = group
    marked: dict[int, list[KerasGroup]] = {}
    for members in around.values():
        projections = [members[name] for name in attention_projections(members)]
        # They take the place of the one that comes first, the others' places are empty.
        marked.update((id(group), []) for group in projections)
        if projections:
            first = next(group for group in members.values() if id(group) in marked)
            marked[id(first)] = [replace(group, is_attention=True) for group in projections]
    return [group for given in groups for group in marked.get(id(given), [given])]


def _parts(group: KerasGroup) -> list[Part]:
    name, variables = ".".join(group.path), group.variables
    folded_class = class_from_name(group.class_name or (group.path[-1] if group.path else ""))
    if {"kernel", "recurrent_kernel"} <= variables.keys() and all(
        variables[word].ndim >= 2 for word in ("kernel", "recurrent_kernel")
    ):
        return list(_recurrent(name, variables))
    if _is_depthwise(variables, folded_class):
        return list(_depthwise(name, variables))
    for word in ("embeddings", "embedding", "position_embeddings"):
        if word in variables and variables[word].ndim == 2:
            return [Kernel(name, "embedding", variables[word].T, kind_is_known=True)]
    kernel, bias = variables.get("kernel"), variables.get("bias")
    if kernel is not None and kernel.ndim >= 2:
        return [_kernel(group, name, kernel, bias, folded_class)]
    return list(_normalisation(group, name))


def _kernel(
    group: KerasGroup, name: str, kernel: Array, bias: Array | None, folded_class: str
) -> Kernel:
    equation = group.config.get("equation")
    is_einsum = isinstance(equation, str) or folded_class == "einsumdense" or group.is_attention
    if is_einsum or (bias is not None and bias.ndim > 1):
        kernel = _einsum_kernel(group, kernel, bias, equation)
        kind = "attention" if group.is_attention else "dense"
        # A bias that is broadcast over a part of the outputs is none a unit, and is left out later.
        bias = None if bias is None else bias.reshape(-1)
        return Kernel(name, kind, kernel, bias, kind_is_known=True)
    if _is_transposed(kernel, bias, folded_class):
        kernel, kind = np.moveaxis(kernel, (-2, -1), (0, 1)), "transposed_conv"
    else:
        kernel = np.moveaxis(kernel, (-1, -2), (0, 1))
        kind = "dense" if kernel.ndim == 2 else "conv"
    return Kernel(name, kind, kernel, bias, kind_is_known=kind == "transposed_conv")


def _is_transposed(kernel: Array, bias: Array | None, folded_class: str) -> bool:
    """Return whether the kernel is (*spatial, out, in): Keras's ConvTranspose, not Flax's."""
    if kernel.ndim < 3 or "transpose" not in folded_class:
        return False
    is_flax = folded_class == "convtranspose"
    fits = bias is None or bias.size == kernel.shape[-1 if is_flax else -2]
    return fits != is_flax


def _einsum_kernel(group: KerasGroup, kernel: Array, bias: Array | None, equation: object) -> Array:
    """(out, in) of a kernel whose axes an equation, a bias or a place in attention sorts."""
    axes = [*range(kernel.ndim)]
    outputs = _equation_axes(equation, kernel.ndim) if isinstance(equation, str) else []
    if not outputs and group.is_attention and kernel.ndim > 2:
        match = _PROJECTION.fullmatch(group.path[-1])
        is_output = match is not None and "out" in match.groups()
        outputs = axes[-1:] if is_output else axes[1:]
    elif not outputs:
        n = max(bias.ndim, 1) if bias is not None and bias.ndim < kernel.ndim else 1
        outputs = axes[-n:]
    inputs = [axis for axis in axes if axis not in outputs]
    n_outputs = prod(kernel.shape[axis] for axis in outputs)
    return kernel.transpose(*outputs, *inputs).reshape(n_outputs, -1)


def _equation_axes(equation: str, n_axes: int) -> list[int]:
    """Return the kernel's axes that reach the output of an equation such as ``abc,cde->abde``."""
    match = re.fullmatch(r"([^,]+),([^,]+)->(.+)", equation.replace("...", "").replace(" ", ""))
    if match is None or len(match[2]) != n_axes:
        return []
    return [axis for axis, label in enumerate(match[2]) if label in match[3]]


def _is_depthwise(variables: Mapping[str, Array], folded_class: str) -> bool:
    if "depthwise_kernel" in variables or folded_class.startswith("depthwiseconv"):
        return True
    kernel, bias = variables.get("kernel"), variables.get("bias")
    if kernel is None or bias is None or kernel.ndim < 3 or bias.ndim != 1:
        return False
    # A layer under a name of the user's: only a depthwise kernel has a bias for each pair of its
    # last two axes.
    channels, multiplier = kernel.shape[-2:]
    return bias.size == channels * multiplier and channels > 1 and "transpose" not in folded_class


def _depthwise(name: str, variables: Mapping[str, Array]) -> list[Kernel]:
    depthwise = variables.get("depthwise_kernel", variables.get("kernel"))
    pointwise, bias = variables.get("pointwise_kernel"), variables.get("bias")
    if depthwise is None or depthwise.ndim < 3:
        return []
    channels = depthwise.shape[-2] * depthwise.shape[-1]
    kernel = np.moveaxis(depthwise, (-2, -1), (0, 1)).reshape(channels, 1, *depthwise.shape[:-2])
    if pointwise is None or pointwise.ndim < 3:
        return [Kernel(name, "depthwise_conv", kernel, bias, kind_is_known=True)]
    return [
        Kernel(f"{name}.depthwise", "depthwise_conv", kernel, None, kind_is_known=True),
        Kernel(f"{name}.pointwise", "conv", np.moveaxis(pointwise, (-1, -2), (0, 1)), bias, True),
    ]


def _recurrent(name: str, variables: Mapping[str, Array]) -> list[Kernel]:
    kernel = np.moveaxis(variables["kernel"], (-1, -2), (0, 1))
    recurrent_kernel = np.moveaxis(variables["recurrent_kernel"], (-1, -2), (0, 1))
    bias, recurrent_bias = variables.get("bias"), None
    if bias is not None and bias.ndim == 2:  # GRU with reset_after: of input and of state
        bias, recurrent_bias = bias[0], bias[1]
    if recurrent_kernel.shape[0] == 3 * recurrent_kernel.shape[1]:
        kernel, recurrent_kernel = from_keras_gru(kernel), from_keras_gru(recurrent_kernel)
        biases = (bias, recurrent_bias)
        bias, recurrent_bias = (None if b is None else from_keras_gru(b) for b in biases)
    return recurrent_kernels(name, kernel, recurrent_kernel, bias, recurrent_bias)


def _normalisation(group: KerasGroup, name: str) -> list[Normalisation]:
    variables = group.variables
    scale = variables.get("gamma", variables.get("scale"))
    shift = variables.get("beta", variables.get("bias") if "scale" in variables else None)
    mean = variables.get("moving_mean", variables.get("mean"))
    variance = variables.get("moving_variance", variables.get("var"))
    arrays = [array for array in (scale, shift, mean, variance) if array is not None]
    if not arrays or any(a.ndim != 1 or a.shape != arrays[0].shape for a in arrays):
        return []
    width = arrays[0].size
    if mean is None or variance is None:
        if width == 1 or (scale is None and shift is None):
            return []  # a learnt slope or temperature; or statistics of the inputs
        return [Normalisation(name, width, scale, shift)]
    epsilon = group.config.get("epsilon")
    if not isinstance(epsilon, int | float):
        epsilon = KERAS_EPSILON if "moving_variance" in variables else TORCH_EPSILON
    epsilon = float(epsilon)
    return [Normalisation(name, width, scale, shift, mean, variance, epsilon, None, True)]
