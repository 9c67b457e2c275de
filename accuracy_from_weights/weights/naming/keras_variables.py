"""Names for the variables of a Keras layer that a file only numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from accuracy_from_weights.weights.layers import Array, Path
from accuracy_from_weights.weights.naming.keras_names import (
    VARIABLE_NAMES,
    KerasGroup,
    class_from_name,
)

_BATCH = ("batchnormalization",)
_NORMS = ("layernormalization", "groupnormalization", "rmsnormalization")
_CELLS = ("lstmcell", "grucell", "simplernncell", "convlstmcell")
_IGNORED = ("normalization", "prelu", "spectralnormalization", "tfsmlayer")

WITH_KERNEL = {
    *_CELLS,
    "dense",
    "einsumdense",
    "embedding",
    *(f"{kind}{n}d" for n in (1, 2, 3) for kind in ("conv", "depthwiseconv", "separableconv")),
    *(f"conv{n}dtranspose" for n in (1, 2, 3)),
}
"""Classes that have a kernel once they are built, in the folded form of `class_from_name`."""

KNOWN_CLASSES = {*_BATCH, *_NORMS, *_IGNORED, *WITH_KERNEL}
"""Classes whose variables are known, in the folded form of `class_from_name`."""


def keras_groups(
    path: Path, variables: Sequence[tuple[str, Array]], class_name: str, config: Mapping[str, Any]
) -> Iterator[KerasGroup]:
    """Yield a layer with its variables, renamed where they bear names of the user's or none."""
    if any(name in VARIABLE_NAMES for name, _ in variables):
        yield KerasGroup(path, dict(variables), class_name, config)
    else:
        arrays = [array for _, array in variables]
        for suffix, named in named_variables(class_name, arrays, config):
            yield KerasGroup((*path, suffix) if suffix else path, named, class_name, config)


def named_variables(
    class_name: str, arrays: Sequence[Array], config: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Array]]]:
    """Name a layer's own variables, given in the order in which Keras keeps them.

    The class may be a layer's name made from it; where it is unknown, shapes decide. With the
    variables comes a suffix for the layer's name, which tells several kernels in a layer of the
    user's apart.
    """
    folded = class_from_name(class_name)
    if not arrays or folded in _IGNORED:
        return
    if all(array.ndim == 1 for array in arrays):
        yield "", _vectors(folded, arrays, config)
    elif folded.startswith("separableconv"):
        yield "", dict(zip(("depthwise_kernel", "pointwise_kernel", "bias"), arrays, strict=False))
    elif folded in _CELLS or _is_cell(arrays):
        yield "", dict(zip(("kernel", "recurrent_kernel", "bias"), arrays, strict=False))
    elif folded == "embedding" or (
        folded not in KNOWN_CLASSES
        and "embed" in folded
        and len(arrays) == 1
        and arrays[0].ndim == 2
    ):
        yield "", {"embeddings": arrays[0]}
    elif folded in KNOWN_CLASSES:
        yield "", dict(zip(("kernel", "bias"), arrays, strict=False))
    else:
        yield from _several(arrays)


def _vectors(folded: str, arrays: Sequence[Array], config: Mapping[str, Any]) -> dict[str, Array]:
    is_batch = folded in _BATCH or (folded not in _NORMS and len(arrays) in (3, 4))
    names = []
    n_affine = len(arrays) - 2 if is_batch else len(arrays)
    # Which one is there, when only one is: a scale that the next layer could undo is the one that
    # is left out before relu, while layer normalisations rather do without a shift.
    has_scale = config.get("scale", n_affine == 2 or not is_batch)
    has_shift = config.get("center", n_affine == 2 or is_batch)
    if n_affine > 0:
        names = [name for name, has in (("gamma", has_scale), ("beta", has_shift)) if has]
    if is_batch:
        names += ["moving_mean", "moving_variance"]
    return dict(zip(names, arrays, strict=False))


def _is_cell(arrays: Sequence[Array]) -> bool:
    if len(arrays) < 2 or arrays[0].ndim != arrays[1].ndim or arrays[0].ndim < 2:
        return False
    kernel, recurrent = arrays[:2]
    units, width = recurrent.shape[-2:]
    return kernel.shape[-1] == width and units > 0 and width in (3 * units, 4 * units)


def _several(arrays: Sequence[Array]) -> Iterator[tuple[str, dict[str, Array]]]:
    """Kernels of a layer of the user's, each with the bias that comes right after it."""
    named: list[dict[str, Array]] = []
    for array in arrays:
        if named and "bias" not in named[-1] and _is_bias(array, named[-1]["kernel"]):
            named[-1]["bias"] = array
        elif array.ndim >= 2:
            named.append({"kernel": array})
    for n, variables in enumerate(named):
        yield str(n) if len(named) > 1 else "", variables


def _is_bias(bias: Array, kernel: Array) -> bool:
    if bias.ndim == 1:
        before_last, last = kernel.shape[-2:]
        return bias.size in (last, last * before_last, before_last)
    return bias.ndim < kernel.ndim and bias.shape == kernel.shape[-bias.ndim :]
