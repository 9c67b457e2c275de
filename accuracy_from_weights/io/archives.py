"""Untrusted archives: how much a file may claim to hold, and numpy's ``.npz`` read without trust.

The rules about size hold for every format that this package reads. numpy's own reader believes
what an archive declares: how much it unpacks to, and which of two members of one name is meant.
Here both are checked before anything is allocated, as are shapes and types, and whatever a damaged
archive raises becomes one error.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from accuracy_from_weights.errors import UnreadableFileError, first_line

LARGEST_CONTENT = 256 * 2**20
"""Bytes that any file may unpack to, however small it is."""

MAX_EXPANSION = 100
"""Beyond that: bytes in memory for each byte stored. Trained weights hardly compress, so that even
zeros among them stay far below it, while a bomb of zeros reaches 1000."""

NUMBERS_AND_TEXTS = "biufU"
"""Kinds of numpy's types that an archive of this package may hold."""


class DamagedArchiveError(ValueError):
    """The archive is damaged, absurd, or holds something else than numbers and texts."""


class PickledArrayError(DamagedArchiveError):
    """The array is a pickle, whose reading would run code."""


def check_expansion(content: int, stored: int, what: str = "it") -> None:
    """Raise `DamagedArchiveError` where absurdly many bytes come of those stored."""
    if content > max(LARGEST_CONTENT, MAX_EXPANSION * stored):
        raise DamagedArchiveError(
            f"{what} would take {content:,} bytes or more where {stored:,} are stored"
        )


@contextlib.contextmanager
def open_zip(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive.

    Raises
    ------
    DamagedArchiveError
        When it unpacks to absurdly much, is encrypted, or names a member twice.
    zipfile.BadZipFile
        When it is damaged otherwise.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        check_expansion(unpacked, os.path.getsize(path), "the archive")
        names = Counter(member.filename for member in members)
        repeated = next((name for name, n in names.items() if n > 1), None)
        if repeated is not None:
            raise DamagedArchiveError(f"the archive holds two members named {repeated!r}")
        if any(member.flag_bits & 0x1 for member in members):
            raise DamagedArchiveError("the archive is encrypted")
        yield archive


class ArrayArchive:
    """An open archive; arrays are read when asked for."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
        self._members = {member.filename.removesuffix(".npy"): member for member in members}
        self.names = list(self._members)
        if len(self.names) < len(archive.infolist()):
            raise DamagedArchiveError("a member is no array")

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Read an array of numbers or texts; where it holds or is none, `DamagedArchiveError`."""
        if name not in self._members:
            raise DamagedArchiveError(f"no array {name!r}")
        member = self._members[name]
        with _all_as_damage(), self._archive.open(member) as file:
            return read_array(file, member.file_size)

    def json(self, name: str) -> dict[str, Any]:
        """Read a JSON object from an array of bytes; where it is none, `DamagedArchiveError`."""
        content = self[name].tobytes()
        with _all_as_damage():
            values = json.loads(content)
        if not isinstance(values, dict):
            raise DamagedArchiveError(f"{name!r} is no JSON object")
        return values


@contextlib.contextmanager
def open_archive(path: str | os.PathLike[str]) -> Iterator[ArrayArchive]:
    """Open an archive; where it is missing, damaged or absurd, raise `DamagedArchiveError`."""
    with contextlib.ExitStack() as stack:
        with _all_as_damage():
            opened = ArrayArchive(stack.enter_context(open_zip(path)))
        yield opened


@contextlib.contextmanager
def open_data(path: str | os.PathLike[str]) -> Iterator[ArrayArchive]:
    """Open a user's ``.npz`` file of data; all damage raises `UnreadableFileError`."""
    try:
        with open_archive(path) as archive:
            yield archive
    except DamagedArchiveError as error:
        raise UnreadableFileError(
            f"{os.fspath(path)} is not a complete .npz file of plain arrays: {error}."
        ) from error


@contextlib.contextmanager
def _all_as_damage() -> Iterator[None]:
    try:
        yield
    except DamagedArchiveError:
        raise
    except Exception as error:
        # zipfile, zlib, lzma, struct, json and numpy raise a dozen types for a damaged file, and
        # not always the same ones from release to release.
        raise DamagedArchiveError(f"{type(error).__name__}: {first_line(error)}") from error


def read_array(file: Any, size: int, kinds: str = NUMBERS_AND_TEXTS) -> NDArray[Any]:
    """Read an array in numpy's format from a file of `size` bytes.

    Raises
    ------
    PickledArrayError
        When it holds objects of Python.
    DamagedArchiveError
        When it holds something else, or another number of bytes than its shape says.
    """
    version = npy_format.read_magic(file)
    if version == (1, 0):
        shape, is_fortran, dtype = npy_format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, is_fortran, dtype = npy_format.read_array_header_2_0(file)
    else:
        raise DamagedArchiveError(f"an array in the unknown format {version}")
    if dtype.hasobject:
        raise PickledArrayError("an array is a pickle")
    if dtype.kind not in kinds:
        raise DamagedArchiveError(f"an array of type {dtype}, neither numbers nor texts")
    n_bytes = math.prod(shape) * dtype.itemsize
    if any(n < 0 for n in shape) or n_bytes != size - file.tell():
        raise DamagedArchiveError("an array whose shape and size disagree")
    content = bytearray(n_bytes)
    if file.readinto(content) != n_bytes or file.read(1):
        raise DamagedArchiveError("an array that is shorter or longer than declared")
    if not n_bytes:
        return np.empty(shape, dtype)
    array = np.frombuffer(content, dtype)
    if dtype.kind == "U":
        characters = array.view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if characters.max() > sys.maxunicode:
            raise DamagedArchiveError("a text with characters that do not exist")
    return array.reshape(shape, order="F" if is_fortran else "C")
