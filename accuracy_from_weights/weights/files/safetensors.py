"""Reading of ``.safetensors`` files without their library, which cannot give bfloat16 to numpy.

Eight bytes give the length of a JSON header, little-endian; the header gives each tensor's dtype,
shape and place in the bytes that follow. The format is defined at
https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import os
from math import prod
from typing import Any, BinaryIO

import numpy as np

from accuracy_from_weights.weights.arrays import Float8Array
from accuracy_from_weights.weights.files.errors import damaged, unreadable
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.naming.state_dicts import parts_of_mapping

_MAX_HEADER_BYTES = 100_000_000
"""The limit that the format's own library sets."""

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "F8_E5M2": "|u1",
    "F8_E4M3": "|u1",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}


def parts_of_file(path: str, part: str | None = None) -> list[Part]:
    """Return the parts in the order that names and shapes tell.

    The format's own writer sorts tensors by dtype and name, whatever their order was.
    """
    return parts_of_mapping(tensors_of_file(path), order_is_known=False, part=part)


def tensors_of_file(path: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return all tensors of a file by name."""
    with open(path, "rb") as file:
        size = os.path.getsize(path)
        header = _header(path, size, file)
        start = file.tell()
        tensors: dict[str, np.ndarray[Any, Any]] = {}
        n_bytes = 0
        for name, entry in header.items():
            if name != "__metadata__":
                tensors[name] = _tensor(path, name, entry, file, start, size - start)
                begin, end = entry["data_offsets"]
                n_bytes += end - begin
                if n_bytes > size:
                    raise damaged(path, "the values of several tensors overlap")
    return tensors


def _header(path: str, size: int, file: BinaryIO) -> dict[str, Any]:
    length_bytes = file.read(8)
    length = int.from_bytes(length_bytes, "little")
    if len(length_bytes) < 8 or length > min(_MAX_HEADER_BYTES, size - 8):
        raise damaged(path, "it is truncated or no .safetensors file")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        detail = f": {error}" if isinstance(error, _RepeatedNameError) else ""
        raise damaged(path, f"its .safetensors header is damaged{detail}") from None
    if not isinstance(header, dict):
        raise damaged(path, "its .safetensors header is damaged")
    return header


class _RepeatedNameError(ValueError):
    """A JSON object holds a name twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise _RepeatedNameError("a name stands in it twice")
    return unique


def _tensor(
    path: str, name: str, entry: Any, file: Any, start: int, n_bytes: int
) -> np.ndarray[Any, Any]:
    if not isinstance(entry, dict):
        raise damaged(path, f"the entry of tensor {name!r} is damaged")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    dtype = entry.get("dtype")
    if isinstance(dtype, str) and dtype.startswith("C"):
        raise unreadable(path, f"tensor {name!r} holds complex numbers")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise unreadable(path, f"tensor {name!r} has the unknown dtype {dtype!r}")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise damaged(path, f"tensor {name!r} has an impossible shape or place")
    begin, end = offsets
    itemsize = np.dtype(_DTYPES[dtype]).itemsize
    if end > n_bytes:
        raise damaged(path, f"it is truncated: tensor {name!r} ends beyond the file's end")
    if end - begin != prod(shape) * itemsize:
        raise damaged(path, f"the shape and the size of tensor {name!r} disagree")
    file.seek(start + begin, os.SEEK_SET)
    raw = np.frombuffer(file.read(end - begin), dtype=_DTYPES[dtype])
    return _decoded(raw, dtype).reshape(shape)


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _decoded(raw: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """Return bfloat16 and float8 as float32: cut-off wider floats, or a table."""
    if dtype == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    if dtype == "F8_E5M2":
        return (raw.astype(np.uint16) << 8).view(np.float16).astype(np.float32).view(Float8Array)
    if dtype == "F8_E4M3":
        return _e4m3_values()[raw].view(Float8Array)
    return raw


def _e4m3_values() -> np.ndarray[Any, Any]:
    """Return the 256 values of float8 e4m3fn: 4 bits of exponent (bias 7), 3 of mantissa."""
    code = np.arange(256)
    exponent, mantissa = (code >> 3) & 15, code & 7
    normal = np.ldexp(1 + mantissa / 8, exponent - 7)
    values = np.where(exponent == 0, np.ldexp(mantissa / 8, -6), normal)
    values[(code & 127) == 127] = np.nan
    return (values * np.where(code & 128, -1, 1)).astype(np.float32)
