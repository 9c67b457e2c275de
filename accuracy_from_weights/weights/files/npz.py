"""Reading of ``.npz`` archives: state dicts, Keras's or Flax's names, and networks of a zoo.

A zoo's file holds all checkpoints of one training run: ``weights/NAME`` is the tensor of that name
with a leading axis, the checkpoints, and ``header`` is JSON, in which ``steps`` lists the epochs
trained.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import numpy as np

from accuracy_from_weights.errors import UnsupportedModelError, UntrustedFileError
from accuracy_from_weights.io.archives import (
    NUMBERS_AND_TEXTS,
    PickledArrayError,
    open_zip,
    read_array,
)
from accuracy_from_weights.weights.files.errors import damaged, unreadable
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.naming.state_dicts import parts_of_mapping

Arrays: TypeAlias = dict[str, np.ndarray[Any, Any]]

_ZOO = "weights/"

_KINDS = f"{NUMBERS_AND_TEXTS}cVSM"
"""Complex numbers are refused by their name later; raw bytes and the like hold no weights."""


def parts_of_file(path: str, part: str | None = None) -> list[Part]:
    """Return the parts in the order in which their arrays were written."""
    arrays: Arrays = {}
    try:
        with open_zip(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    with archive.open(member) as file:
                        array = read_array(file, member.file_size, _KINDS)
                    arrays[member.filename.removesuffix(".npy")] = array
    except PickledArrayError:
        raise UntrustedFileError(
            f"Reading {path!r} would run code, so it was not read: {member.filename!r} in it is a "
            "pickle; save arrays of numbers."
        ) from None
    if not arrays:
        raise unreadable(path, "it is an archive without arrays of numpy's")
    if "header" in arrays and all(name.startswith(_ZOO) for name in arrays if name != "header"):
        arrays, part = _checkpoint(path, arrays, part), None
    return parts_of_mapping(arrays, part=part)


def _checkpoint(path: str, arrays: Arrays, part: str | None) -> Arrays:
    """Return the state dict of one checkpoint of a zoo's file."""
    steps = [f"{step:g}" for step in json.loads(arrays.pop("header").tobytes())["steps"]]
    if any(array.shape[:1] != (len(steps),) for array in arrays.values()):
        raise damaged(path, "its steps and its weights differ in number")
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
