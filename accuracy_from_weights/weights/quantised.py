"""Dequantisation of weights where that is exact; other formats are refused by name.

A weight of integers is a code, not a value. Read as values it would give a confident wrong
estimate, so every kernel of integers is either multiplied by the scale that lies beside it, one a
tensor, a channel or a group, or refused.

Names of tensors are those that the formats' own writers use: torch.ao.quantization,
bitsandbytes, GPTQ and AWQ, compressed-tensors, optimum-quanto, HQQ, torchao and Keras.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights.arrays import Float8Array, known_shape, to_numpy
from accuracy_from_weights.weights.layers import Array, Path

Dequantise: TypeAlias = Callable[[Array, Array, Array | None], Array | None]
"""Of codes, scale and the code of zero: the values, or None where the shapes do not fit."""

_FORMATS = (
    (r".*\.quant_state\.bitsandbytes__(?:nf4|fp4)|.*weight\.(?:nested_)?(?:absmax|quant_map)",
     "4-bit numbers of bitsandbytes (NF4 or FP4)"),
    (r".*g_idx", "integers packed by GPTQ"),
    (r".*qzeros", "integers packed by GPTQ or AWQ"),
    (r".*(?:qweight|q_weight|trellis)", "packed integers (GPTQ, AWQ or EXL2)"),
    (r".*weight_packed", "integers packed by compressed-tensors"),
    (r".*weight_qdata", "quantised tensors of torchao"),
    (r".*W_q", "integers packed by HQQ"),
    (r".*(?:codebooks|Qidxs|centroids)", "codes of a code book (AQLM, QuIP# or VPTQ)"),
    (r".*_blocks", "4-bit blocks with scales (MXFP4)"),
)  # fmt: skip
"""Names that only these formats use, and what to call them."""

_OF_ANY_FORMAT = re.compile("|".join(pattern for pattern, _ in _FORMATS))

_WEIGHT = re.compile(r"(?:.*_)?(?:weights?(?:_\w+)?|kernel|embeddings?)|w\d*", re.IGNORECASE)
_NO_WEIGHT = re.compile(r".*(?:mask|scale|zero_point|zero|shape|format|scale_inv|scales)")
_INTEGER = re.compile(r"(?:torch\.)?u?int\d+")
_BLOCK = 128
"""Rows and columns that share a scale where a checkpoint holds ``weight_scale_inv``."""


def dequantised(tensors: Mapping[Path, Any]) -> dict[Path, Any]:
    """Replace quantised weights by their values, as float32, and leave out their scales.

    Raises
    ------
    UnsupportedModelError
        When a weight is stored in a format that cannot be dequantised here, or as integers
        without a known scale.
    """
    tensors = {_ordinary_name(path): value for path, value in tensors.items()}
    _refuse_formats(tensors)
    values: dict[Path, Any] = {}
    used: set[Path] = set()
    for path, tensor in tensors.items():
        name, is_weight = path, _WEIGHT.fullmatch(path[-1]) and not _NO_WEIGHT.fullmatch(path[-1])
        if path[-2:] == ("weight", "_data"):  # optimum-quanto
            name, is_weight = path[:-1], True
        if is_weight and _is_quantised(tensor):
            values[name] = _dequantised(path, tensor, tensors, used)
        else:
            values[name] = tensor
    return {path: value for path, value in values.items() if path not in used}


def dequantised_in_order(arrays: Sequence[Any], name: str) -> list[Any]:
    """Dequantise the variables of a Keras layer that a file only numbers.

    The kernel comes first and its scale last; of integers in another format than Keras's int8 it
    is an `UnsupportedModelError`.
    """
    if not any(_is_quantised(array) for array in arrays):
        return list(arrays)
    if len(arrays) < 2 or any(_is_quantised(array) for array in arrays[1:]):
        raise integers_without_scale(name, arrays[0].dtype)
    is_embedding = arrays[-1].shape == arrays[0].shape[:1] and "embed" in name.lower()
    leaf = "embeddings" if is_embedding else "kernel"
    named: dict[Path, Any] = {(name, leaf): arrays[0], (name, f"{leaf}_scale"): arrays[-1]}
    return [*dequantised(named).values(), *arrays[1:-1]]


def _ordinary_name(path: Path) -> Path:
    """``fc._packed_params._packed_params.0`` -> ``fc.weight``: how torch stores a linear layer."""
    if path[-3:-1] == ("_packed_params", "_packed_params") and path[-1] in ("0", "1"):
        return (*path[:-3], "weight" if path[-1] == "0" else "bias")
    if path[-2:] == ("_packed_params", "_packed_weight"):
        return (*path[:-2], "weight")
    return path


def _refuse_formats(tensors: Mapping[Path, Any]) -> None:
    found = [name for path in tensors if _OF_ANY_FORMAT.fullmatch(name := ".".join(path))]
    for pattern, what in _FORMATS if found else ():
        named = next((name for name in found if re.fullmatch(pattern, name)), None)
        if named is not None:
            raise UnsupportedModelError(
                f"The weights are stored as {what} ({named!r}), which cannot be read; "
                "dequantise the network, or read the one it was made from."
            )


def _is_quantised(tensor: Any) -> bool:
    is_coded = re.fullmatch(
        r"(?:torch\.)?(?:u?int\d+|float8\w*)", str(getattr(tensor, "dtype", ""))
    )
    has_axes = len(known_shape(tensor) or ()) > 1
    return has_axes and (bool(is_coded) or isinstance(tensor, Float8Array))


def _dequantised(path: Path, tensor: Any, tensors: Mapping[Path, Any], used: set[Path]) -> Any:
    name = ".".join(path)
    codes = to_numpy(tensor, name)
    place, dequantise = next(((p, d) for p, d in _scales(path) if p in tensors), ((), None))
    if codes is None or dequantise is None:
        if not _INTEGER.fullmatch(str(tensor.dtype)):
            return tensor  # 8-bit floats without a scale are values
        raise integers_without_scale(name, tensor.dtype)
    scale = _numbers(tensors[place], name)
    *around, leaf = path
    names = ("_shift",) if leaf == "_data" else (f"{leaf}_zero_point", f"{leaf}_zp", f"{leaf}_zero")
    zeros = [p for name in names if (p := (*around, name)) in tensors]
    zero = _numbers(tensors[zeros[0]], name) if zeros else None
    values = None if scale is None else dequantise(codes, scale, zero)
    if values is None:
        raise integers_without_scale(name, tensor.dtype)
    used.update((place, *zeros))
    return values


def _scales(path: Path) -> list[tuple[Path, Dequantise]]:
    """Return where the scale of a weight may lie, and how it is applied."""
    *around, leaf = path
    if leaf == "_data":
        return [((*around, "_scale"), _by_groups)]
    if leaf in ("kernel", "embeddings"):
        apply = _as_keras if leaf == "kernel" else _as_keras_embedding
        return [((*around, f"{leaf}_scale"), apply)]
    return [
        ((*around, f"{leaf}_scale"), _by_groups),
        ((*around, f"{leaf}_scale_inv"), _by_blocks),
        ((*around, "SCB"), _by_rows),
    ]


def _numbers(tensor: Any, name: str) -> Array | None:
    return to_numpy(tensor if len(tensor.shape) else tensor[None], name)


def integers_without_scale(name: str, dtype: object) -> UnsupportedModelError:
    """Return the error for a kernel of integers that cannot be made into values."""
    return UnsupportedModelError(
        f"{name!r} is stored as integers ({dtype}) without a scale of a known kind; dequantise the "
        "network, or read the one it was made from."
    )


def _by_groups(codes: Array, scale: Array, zero: Array | None) -> Array | None:
    """Apply one scale to a tensor, to an output, or to a group of an output's inputs."""
    n_outputs, n_inputs = codes.shape[0], prod(codes.shape[1:])
    if scale.size > 1 and (scale.shape[0] != n_outputs or scale.size % n_outputs):
        return None
    n_groups = scale.size // n_outputs if scale.size > 1 else 1
    if n_inputs % n_groups or (zero is not None and zero.size not in (1, scale.size)):
        return None
    values = codes.reshape(n_outputs, n_groups, -1)
    if zero is not None:
        values = values - zero.reshape(-1, n_groups if zero.size > 1 else 1, 1)
    return _product(values, scale.reshape(-1, n_groups, 1)).reshape(codes.shape)


def _by_rows(codes: Array, scale: Array, zero: Array | None) -> Array | None:
    """LLM.int8 of bitsandbytes: ``SCB`` is the largest absolute value of each row."""
    return _by_groups(codes, scale / 127, zero)


def _by_blocks(codes: Array, scale: Array, zero: Array | None) -> Array | None:
    """Apply one scale to each square of 128 by 128."""
    if scale.size == 1:
        return _by_groups(codes, scale, zero)
    if codes.ndim != 2 or scale.shape != tuple(-(-n // _BLOCK) for n in codes.shape):
        return None
    each = scale.repeat(_BLOCK, 0).repeat(_BLOCK, 1)
    return _product(codes, each[: codes.shape[0], : codes.shape[1]])


def _as_keras(codes: Array, scale: Array, zero: Array | None) -> Array | None:
    """Keras's int8: one scale an output, as the outputs' shape with axes of length 1 before it.

    Keras multiplies values with the scale to get codes (``quantizers.abs_max_quantize``).
    """
    outputs = scale.shape[next((i for i, n in enumerate(scale.shape) if n > 1), scale.ndim) :]
    fits = not outputs or (len(outputs) < codes.ndim and codes.shape[-len(outputs) :] == outputs)
    inputs = tuple(range(codes.ndim - len(outputs)))
    if not fits or zero is not None or not _are_codes_of_keras(codes, inputs):
        return None
    return _product(codes, 1 / scale.reshape(outputs))


def _as_keras_embedding(codes: Array, scale: Array, zero: Array | None) -> Array | None:
    """Keras's int8: one scale a token."""
    fits = scale.shape == codes.shape[:1] and zero is None and _are_codes_of_keras(codes, (1,))
    return _product(codes, 1 / scale[:, None]) if fits else None


def _are_codes_of_keras(codes: Array, inputs: tuple[int, ...]) -> bool:
    """Return whether each output's largest code is 127, unlike two packed 4-bit numbers."""
    return bool(np.isin(np.abs(codes).max(axis=inputs), (0, 127)).all())


def _product(codes: Any, scale: Any) -> Array:
    with np.errstate(all="ignore"):  # a diverged network passes through as NaN and infinities
        return np.asarray(codes * scale, np.float32)
