"""Reading of PyTorch's ``.pt2`` archives, which ``torch.export.save`` and MLflow write.

The weights are raw bytes beside a JSON file that describes them, so they are read without PyTorch,
and the pickled inputs that lie beside them are not touched. The program, JSON as well, tells the
order of the layers and what lies between them.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from accuracy_from_weights.io.archives import check_members
from accuracy_from_weights.weights.files.errors import damaged, unreadable
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.naming.state_dicts import parts_of_mapping
from accuracy_from_weights.weights.order.exported_graph import graph_of_program
from accuracy_from_weights.weights.order.graph import Graph

_INDEX = "/data/weights/model_weights_config.json"

# Numbers of torch._export's schema, whose names are those of ATen.
_TYPES = {1: "u1", 2: "i1", 3: "i2", 4: "i4", 5: "i8", 6: "f2", 7: "f4", 8: "f8", 12: "?"}
_BFLOAT16 = 13


def parts_of_file(path: str, size: int, part: str | None = None) -> list[Part]:
    """Return the kernels and normalisations in the order in which the program runs them."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, size)
            names = archive.namelist()
            index = next((name for name in names if name.endswith(_INDEX)), None)
            if index is None:
                raise unreadable(
                    path, "it is an archive without the weights of an exported program"
                )
            root = index.removesuffix("model_weights_config.json")
            order = _byte_order(archive, names)
            for name, entry in json.loads(archive.read(index))["config"].items():
                if entry.get("use_pickle"):
                    raise unreadable(path, f"{name!r} is a pickle, not an array")
                raw = archive.read(root + entry["path_name"])
                arrays[name] = _array(path, name, entry["tensor_meta"], raw, order)
            graph = _graph(archive, names)
    except zipfile.BadZipFile:
        raise damaged(path, "it is damaged or truncated") from None
    return parts_of_mapping(arrays, graph=graph, part=part)


def _graph(archive: zipfile.ZipFile, names: list[str]) -> Graph | None:
    program = next((name for name in names if name.endswith("/models/model.json")), None)
    if program is None:
        return None
    try:
        return graph_of_program(json.loads(archive.read(program)))
    except (ValueError, RecursionError):
        return None


def _byte_order(archive: zipfile.ZipFile, names: list[str]) -> str:
    told = next((name for name in names if name.endswith("/byteorder")), None)
    return ">" if told is not None and archive.read(told).strip() == b"big" else "<"


def _array(
    path: str, name: str, meta: Mapping[str, Any], raw: bytes, order: str
) -> np.ndarray[Any, Any]:
    """Make an array of a tensor's bytes, which are those of its whole storage."""
    kind = meta["dtype"]
    if kind == _BFLOAT16:
        # The upper half of a float32.
        halves = np.frombuffer(raw, f"{order}u2").astype(np.uint32)
        storage = (halves << np.uint32(16)).view(np.float32)
    elif kind in _TYPES:
        storage = np.frombuffer(raw, order + _TYPES[kind])
    else:
        raise unreadable(path, f"{name!r} has numbers of an unknown type ({kind})")
    shape = [int(length["as_int"]) for length in meta["sizes"]]
    strides = [int(step["as_int"]) for step in meta["strides"]]
    offset = int(meta["storage_offset"]["as_int"])
    last = offset + sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
    is_empty = 0 in shape
    if min([offset, *shape, *strides]) < 0 or (not is_empty and last >= len(storage)):
        raise damaged(path, f"the shape and the size of {name!r} disagree")
    if is_empty:
        return np.empty(shape, storage.dtype)
    view = np.lib.stride_tricks.as_strided(
        storage[offset:], shape, [step * storage.itemsize for step in strides], writeable=False
    )
    # A tensor that repeats its storage could claim any size: such a one is no weight.
    if view.size > len(storage):
        raise damaged(path, f"the shape and the size of {name!r} disagree")
    return np.array(view)
