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
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from accuracy_from_weights.errors import first_line

LARGEST_CONTENT = 256 * 2**20
"""Bytes that any file may unpack to, however small it is."""

MAX_EXPANSION = 100
"""Beyond that: bytes in memory for each byte stored. Trained weights hardly compress, so that even
zeros among them stay far below it, while a bomb of zeros reaches 1000."""

NUMBERS_AND_TEXTS = "biufU"
"""Kinds of numpy's types that an archive of this package may hold."""

_LAST_CHARACTER = 0x10FFFF


class DamagedArchiveError(ValueError):
    """The archive is damaged, absurd, or holds something else than numbers and texts."""


class PickledArrayError(DamagedArchiveError):
    """The array is a pickle, whose reading would run code."""


def check_expansion(content: int, stored: int, what: str = "it") -> None:
    """Refuse what unpacks to absurdly much.

    Parameters
    ----------
    content, stored : int
        Bytes when unpacked, and in the file.
    what : str
        Whose size it is, for the message.

    Raises
    ------
    DamagedArchiveError
    """
    if content > max(LARGEST_CONTENT, MAX_EXPANSION * stored):
        raise DamagedArchiveError(
            f"{what} would take {content:,} bytes or more where {stored:,} are stored"
        )


def check_members(archive: zipfile.ZipFile, stored: int) -> None:
    """Refuse a zip archive that unpacks to absurdly much, is encrypted, or names a member twice.

    Parameters
    ----------
    archive : ZipFile
    stored : int
        Size of the file in bytes.

    Raises
    ------
    DamagedArchiveError
    """
    members = archive.infolist()
    check_expansion(sum(member.file_size for member in members), stored, "the archive")
    names = Counter(member.filename for member in members)
    repeated = next((name for name, n in names.items() if n > 1), None)
    if repeated is not None:
        raise DamagedArchiveError(f"the archive holds two members named {repeated!r}")
    if any(member.flag_bits & 0x1 for member in members):
        raise DamagedArchiveError("the archive is encrypted")


class ArrayArchive:
    """An open archive; arrays are read when asked for.

    Attributes
    ----------
    names : list of str
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
        self._members = {member.filename.removesuffix(".npy"): member for member in members}
        self.names = list(self._members)
        if len(self.names) < len(archive.infolist()):
            raise DamagedArchiveError("a member is no array")

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Read an array of numbers or texts.

        Raises
        ------
        DamagedArchiveError
            When it is missing or damaged, or holds something else.
        """
        if name not in self._members:
            raise DamagedArchiveError(f"no array {name!r}")
        member = self._members[name]
        with _all_as_damage(), self._archive.open(member) as file:
            return read_array(file, member.file_size)

    def json(self, name: str) -> dict[str, Any]:
        """Read a JSON object that is stored as an array of bytes.

        Raises
        ------
        DamagedArchiveError
            When it is missing, damaged or no object.
        """
        content = self[name].tobytes()
        with _all_as_damage():
            values = json.loads(content)
        if not isinstance(values, dict):
            raise DamagedArchiveError(f"{name!r} is no JSON object")
        return values


@contextlib.contextmanager
def open_archive(path: str | os.PathLike[str]) -> Iterator[ArrayArchive]:
    """Open an archive.

    Raises
    ------
    DamagedArchiveError
        When it is missing or damaged, unpacks to absurdly much, or names a member twice.
    """
    with contextlib.ExitStack() as stack:
        with _all_as_damage():
            archive = stack.enter_context(zipfile.ZipFile(path))
            check_members(archive, os.stat(path).st_size)
            opened = ArrayArchive(archive)
        yield opened


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
    """Read an array in numpy's format.

    Parameters
    ----------
    file : file
        Open for reading bytes.
    size : int
        Bytes that it holds.
    kinds : str
        Kinds of numpy's types that may be read.

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
    if dtype.kind == "U" and _highest_character(array) > _LAST_CHARACTER:
        raise DamagedArchiveError("a text with characters that do not exist")
    return array.reshape(shape, order="F" if is_fortran else "C")


def _highest_character(texts: NDArray[np.str_]) -> int:
    return int(texts.view(np.dtype(np.uint32).newbyteorder(texts.dtype.byteorder)).max())
