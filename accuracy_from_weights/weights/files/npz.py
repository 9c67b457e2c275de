"""numpy's ``.npz`` archives, of state dicts or of Keras's or Flax's names."""

from __future__ import annotations

import zipfile
from math import prod
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from accuracy_from_weights.errors import UntrustedFileError
from accuracy_from_weights.weights.files.limits import check_archive, unreadable
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.naming.state_dicts import parts_of_mapping


def parts_of_file(path: str, size: int) -> list[Part]:
    """Kernels and normalisations in the order in which the arrays were written."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(path, archive, size)
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    with archive.open(member) as file:
                        array = _array(path, member, file)  # type: ignore[arg-type]  # a ZipExtFile reads like one
                    arrays[member.filename.removesuffix(".npy")] = array
    except zipfile.BadZipFile:
        raise unreadable(path, "which is damaged or truncated") from None
    if not arrays:
        raise unreadable(path, "an archive without arrays of numpy's")
    return parts_of_mapping(arrays)


def _array(path: str, member: zipfile.ZipInfo, file: BinaryIO) -> np.ndarray[Any, Any]:
    name = member.filename
    version = npy_format.read_magic(file)
    if version == (1, 0):
        shape, is_fortran, dtype = npy_format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, is_fortran, dtype = npy_format.read_array_header_2_0(file)
    else:
        raise unreadable(path, f"in which {name!r} has the unknown version {version}")
    if dtype.hasobject:
        raise UntrustedFileError(
            "Expected a file whose reading runs no code. "
            f"Received: {path!r}, in which {name!r} is a pickle; save arrays of numbers."
        )
    n_bytes = member.file_size - file.tell()
    if any(n < 0 for n in shape) or prod(shape) * dtype.itemsize != n_bytes:
        raise unreadable(path, f"in which the shape and the size of {name!r} disagree")
    array = np.frombuffer(file.read(n_bytes), dtype=dtype)
    return array.reshape(shape, order="F" if is_fortran else "C")
