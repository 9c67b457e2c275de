"""The file of a zoo's table: an ``.npz`` archive without pickled objects."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from accuracy_from_weights.errors import UnreadableFileError, ZooError
from accuracy_from_weights.io.archives import DamagedArchiveError, open_archive
from accuracy_from_weights.io.atomic import replacing
from accuracy_from_weights.zoo.packing import Column, pack, unpack

TABLE_VERSION = 2
_HEAD = "head"


def write_table(
    path: Path, head: dict[str, Any], columns: dict[str, Column], compact: bool
) -> None:
    """Write a head, which JSON can hold, and columns to a file that appears whole or not at all.

    ``compact`` rounds single precision matrices and compresses by LZMA, which numpy reads as well
    as deflate and which takes a tenth less room and ten times as long. A file that cannot be
    written raises `ZooError`.
    """
    content = json.dumps({"table_version": TABLE_VERSION, **head}).encode()
    arrays: dict[str, Any] = {_HEAD: np.frombuffer(content, np.uint8)}
    for name, column in columns.items():
        arrays |= pack(name, column, rounded=compact)
    method = zipfile.ZIP_LZMA if compact else zipfile.ZIP_DEFLATED
    try:
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", method) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    except OSError as error:
        raise ZooError(f"The table cannot be written to {path}: {error.strerror}.") from error


def read_table(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the head and the columns that `write_table` wrote.

    A file that is missing, damaged, no table, or of a later version raises `UnreadableFileError`.
    """
    try:
        with open_archive(path) as archive:
            head = archive.json(_HEAD)
            version = head.get("table_version")
            if isinstance(version, int) and version > TABLE_VERSION:
                raise UnreadableFileError(
                    f"{path} is a table of version {version}, and this release reads up to "
                    f"{TABLE_VERSION}. Install a newer accuracy-from-weights."
                )
            return head, unpack({name: archive[name] for name in archive.names if name != _HEAD})
    except (DamagedArchiveError, IndexError, ValueError) as error:
        if isinstance(error, UnreadableFileError):
            raise
        raise no_table(path, error) from error


def no_table(path: Path, error: Exception) -> UnreadableFileError:
    """Return the error about a file that is no table; the caller raises it."""
    return UnreadableFileError(
        f"{path} is not a table that describes a zoo ({error}). Make one with "
        "`accuracy-from-weights zoo describe`."
    )


def check_columns(columns: dict[str, Column | None], recipe: dict[str, Column]) -> None:
    """Raise ValueError where columns of a file are not those of a `table.ZooTable`."""
    present = {name: column for name, column in columns.items() if column is not None}
    wanted = {"runs": (1, "U"), "datasets": (1, "U")}
    wanted |= dict.fromkeys(("features", "paper_statistics", "probes", "sample"), (2, "f"))
    for name, column in present.items():
        n_axes, kinds = wanted.get(name, (1, "fiu"))
        if column.ndim != n_axes or column.dtype.kind not in kinds or not len(column):
            raise ValueError(f"{name} is of type {column.dtype} and shape {column.shape}")
    if any(column.ndim != 1 for column in recipe.values()):
        raise ValueError("a hyperparameter with more than one axis")
    accuracy: Any = present["accuracy"]
    known = accuracy[~np.isnan(accuracy)]
    if not ((known >= 0) & (known <= 1)).all():
        raise ValueError("accuracies outside 0 to 1")
