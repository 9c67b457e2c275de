"""Named arrays and a page of facts in one file that runs no code when it is read.

The file is a zip of ``.npy`` members (numpy's ``.npz``) and one JSON text: anybody can open it
without this package, and it is tied to no release of any library.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import AccuracyFromWeightsError, UnreadableFileError
from accuracy_from_weights.io.archives import DamagedArchiveError, open_archive
from accuracy_from_weights.io.atomic import replacing

FORMAT = "accuracy-from-weights predictor"
FORMAT_VERSION = 3
"""Version 1 knew neither anchors nor wider intervals outside the family, version 2 no kernel
machine; both are still read."""
_FACTS = "facts"


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
        with open_archive(name) as archive:
            facts = archive.json(_FACTS)
            arrays = {key: archive[key] for key in archive.names if key != _FACTS}
    except DamagedArchiveError as error:
        raise UnreadableFileError(
            f"Expected a predictor file, as `AccuracyPredictor.save` or `accuracy-from-weights "
            f"retrain` writes. Received: {name}, which cannot be read as one ({error})."
        ) from error
    if facts.get("format") != FORMAT:
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
