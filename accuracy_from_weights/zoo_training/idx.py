"""The idx files in which MNIST and its relatives are published."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import UnreadableFileError
from accuracy_from_weights.io.archives import (
    LARGEST_CONTENT,
    MAX_EXPANSION,
    DamagedArchiveError,
    check_expansion,
)

Bytes = NDArray[np.uint8]

_STEMS = ("train-images", "train-labels", "t10k-images", "t10k-labels")
_UNSIGNED_BYTES = 8
_MOST_AXES = 4  # images, rows, columns, channels


def is_idx_folder(folder: Path) -> bool:
    """Return whether the folder holds the four files of images and labels."""
    return folder.is_dir() and all(_file(folder, stem) for stem in _STEMS)


def read_idx_folder(folder: Path) -> tuple[Bytes, ...]:
    """Read images (n, height, width) and labels (n,), those to train on before those to test on.

    A file that is missing or damaged raises `UnreadableFileError`.
    """
    parts = []
    for stem in _STEMS:
        path = _file(folder, stem)
        if path is None:
            raise UnreadableFileError(
                f"{folder} holds no file {stem}-idx*-ubyte, packed with gzip or not."
            )
        parts.append(read_idx(path))
    return tuple(parts)


def read_idx(path: Path) -> Bytes:
    """Read one idx file of unsigned bytes, packed with gzip or not.

    The format: two zero bytes, a type, the number of axes, their lengths as big-endian 32-bit
    integers, the values. A file that holds something else raises `UnreadableFileError`.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            with gzip.open(path) as packed:
                largest = max(LARGEST_CONTENT, MAX_EXPANSION * len(content))
                unpacked = packed.read(largest + 1)
            check_expansion(len(unpacked), len(content))
            content = unpacked
    except (OSError, EOFError, zlib.error, DamagedArchiveError) as error:
        raise UnreadableFileError(
            f"{path} is not a complete idx file: {error}. Download it again."
        ) from error
    n_axes = content[3] if len(content) > 3 else _MOST_AXES + 1
    if (
        content[:3] != bytes([0, 0, _UNSIGNED_BYTES])
        or n_axes > _MOST_AXES
        or len(content) < 4 + 4 * n_axes
    ):
        raise UnreadableFileError(
            f"{path} begins with {content[:4].hex() or 'nothing'} instead of the head of an idx "
            "file of unsigned bytes."
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", n_axes, offset=4))
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * n_axes)
    if values.size != math.prod(shape):
        raise UnreadableFileError(
            f"{path} holds {values.size} values, and its head promises {shape}. Download it again."
        )
    return values.reshape(shape)


def _file(folder: Path, stem: str) -> Path | None:
    return next((path for path in sorted(folder.glob(f"{stem}[-.]idx*-ubyte*"))), None)
