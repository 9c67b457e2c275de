"""Named arrays and a page of facts in one file that runs no code when it is read.

The file is a zip of ``.npy`` members (numpy's ``.npz``) and one JSON text: anybody can open it
without this package, and it is tied to no release of any library.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.atomic import replacing
from accuracy_from_weights.errors import AccuracyFromWeightsError, UnreadableFileError

FORMAT = "accuracy-from-weights predictor"
FORMAT_VERSION = 2
"""Version 1 knew neither anchors nor wider intervals outside the family; it is still read."""
_FACTS = "facts"
_LARGEST = 512 * 2**20
"""A predictor is a few MB; a file that claims to unpack to more than this is not one."""


def write(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]
) -> None:
    """Write arrays and facts to one file, which appears whole or not at all.

    Parameters
    ----------
    path : str or path-like
    arrays : mapping of str to ndarray
        Numbers only.
    facts : mapping
        Values that JSON can hold.

    Raises
    ------
    AccuracyFromWeightsError
        When the file cannot be written; an older file of that name is left as it was.
    """
    page = {"format": FORMAT, "format_version": FORMAT_VERSION, **facts}
    text = np.frombuffer(json.dumps(page, allow_nan=False).encode(), np.uint8)
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **{_FACTS: text}, **arrays)  # type: ignore[arg-type]  # numpy types the keywords as its own options
    except OSError as error:
        raise AccuracyFromWeightsError(
            f"Expected to write a predictor to {os.fspath(path)}. Received: {error.strerror}. "
            "Choose a folder that exists and can be written to."
        ) from error


def read(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `write` wrote.

    Returns
    -------
    arrays : dict of str to ndarray
    facts : dict

    Raises
    ------
    UnreadableFileError
        When the file is missing, damaged, no predictor, or of a later format version.
    """
    name = os.fspath(path)
    if not Path(name).is_file():
        raise UnreadableFileError(f"Expected a predictor file. Received: {name}, which is no file.")
    try:
        with zipfile.ZipFile(name) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(set(names)) < len(names) or sum(m.file_size for m in members) > _LARGEST:
                raise UnreadableFileError(
                    f"Expected a predictor file. Received: {name}, which unpacks to more than "
                    f"{_LARGEST // 2**20} MB or names a member twice."
                )
        with np.load(name, allow_pickle=False) as file:
            facts = json.loads(file[_FACTS].tobytes())
            arrays = {key: file[key] for key in file.files if key != _FACTS}
    except UnreadableFileError:
        raise
    except Exception as error:
        # numpy, zipfile and json raise a dozen types for a damaged file, and not always the same
        # ones from release to release; all of them mean that this file cannot be used.
        raise UnreadableFileError(
            f"Expected a predictor file, as `AccuracyPredictor.save` or `accuracy-from-weights "
            f"retrain` writes. Received: {name}, which cannot be read as one."
        ) from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise UnreadableFileError(
            f"Expected a predictor file. Received: {name}, an archive of something else."
        )
    version = facts.get("format_version")
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise UnreadableFileError(
            f"Expected a predictor of format version {FORMAT_VERSION} or older. Received: version "
            f"{version!r} in {name}. Install a newer accuracy-from-weights."
        )
    return arrays, facts
