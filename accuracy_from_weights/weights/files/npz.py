"""numpy's ``.npz`` archives: state dicts, Keras's or Flax's names, and networks of a zoo.

A zoo's file holds all checkpoints of one training run: ``weights/NAME`` is the tensor of that name
with a leading axis, the checkpoints, and ``header`` is JSON, in which ``steps`` lists the epochs
trained.
"""

from __future__ import annotations

import json
import zipfile
from math import prod
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.lib import format as npy_format

from accuracy_from_weights.errors import UnsupportedModelError, UntrustedFileError
from accuracy_from_weights.weights.files.limits import check_archive, unreadable
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.naming.state_dicts import parts_of_mapping

Arrays: TypeAlias = dict[str, np.ndarray[Any, Any]]

_ZOO = "weights/"


def parts_of_file(path: str, size: int, part: str | None = None) -> list[Part]:
    """Kernels and normalisations in the order in which the arrays were written."""
    arrays: Arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(path, archive, size)
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    with archive.open(member) as file:
                        array = _array(path, member, file)  # type: ignore[arg-type]  # a ZipExtFile reads like one
                    arrays[member.filename.removesuffix(".npy")] = array
    except zipfile.BadZipFile:
        raise unreadable(path, "it is damaged or truncated") from None
    if not arrays:
        raise unreadable(path, "it is an archive without arrays of numpy's")
    if "header" in arrays and all(name.startswith(_ZOO) for name in arrays if name != "header"):
        arrays, part = _checkpoint(path, arrays, part), None
    return parts_of_mapping(arrays, part=part)


def _checkpoint(path: str, arrays: Arrays, part: str | None) -> Arrays:
    """Return the state dict of one checkpoint of a zoo's file."""
    steps = [f"{step:g}" for step in json.loads(arrays.pop("header").tobytes())["steps"]]
    if any(array.shape[:1] != (len(steps),) for array in arrays.values()):
        raise unreadable(path, "its steps and its weights differ in number")
    if part is None and len(steps) == 1:
        part = steps[0]
    if part not in steps:
        lacks = "" if part is None else f" and none of {part} epochs"
        raise UnsupportedModelError(
            f"The file is one training run of a zoo, with checkpoints of {', '.join(steps)} epochs"
            f"{lacks}; choose one, for example part={steps[-1]!r} (--part {steps[-1]} on the "
            "command line)."
        )
    i = steps.index(part)
    return {name.removeprefix(_ZOO): array[i] for name, array in arrays.items()}


def _array(path: str, member: zipfile.ZipInfo, file: BinaryIO) -> np.ndarray[Any, Any]:
    name = member.filename
    version = npy_format.read_magic(file)
    if version == (1, 0):
        shape, is_fortran, dtype = npy_format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, is_fortran, dtype = npy_format.read_array_header_2_0(file)
    else:
        raise unreadable(path, f"{name!r} has the unknown version {version}")
    if dtype.hasobject:
        raise UntrustedFileError(
            f"Reading {path!r} would run code, so it was not read: {name!r} in it is a pickle; "
            "save arrays of numbers."
        )
    n_bytes = member.file_size - file.tell()
    if any(n < 0 for n in shape) or prod(shape) * dtype.itemsize != n_bytes:
        raise unreadable(path, f"the shape and the size of {name!r} disagree")
    array = np.frombuffer(file.read(n_bytes), dtype=dtype)
    return array.reshape(shape, order="F" if is_fortran else "C")
