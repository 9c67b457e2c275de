"""Reading of PyTorch's ``.pt2`` archives, which ``torch.export.save`` and MLflow write.

The weights are raw bytes beside a JSON file that describes them, so they are read without PyTorch,
and the pickled inputs that lie beside them are not touched. The program, JSON as well, tells the
order of the layers and what lies between them. `torch._export.serde.schema` describes both.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np

from accuracy_from_weights.io.archives import open_zip
from accuracy_from_weights.weights.files.errors import damaged, unreadable
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.layers import Path
from accuracy_from_weights.weights.naming.state_dicts import parts_of_mapping
from accuracy_from_weights.weights.order.graph import PASS, Graph, GraphBuilder

_INDEX = "/data/weights/model_weights_config.json"

# Numbers of the schema, whose names are those of ATen.
_TYPES = {1: "u1", 2: "i1", 3: "i2", 4: "i4", 5: "i8", 6: "f2", 7: "f4", 8: "f8", 12: "?"}
_BFLOAT16 = 13


def parts_of_file(path: str, part: str | None = None) -> list[Part]:
    """Return the parts in the order in which the program runs them."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    with open_zip(path) as archive:
        index = _member(archive, _INDEX)
        if index is None:
            raise unreadable(path, "it is an archive without the weights of an exported program")
        root = index.removesuffix("model_weights_config.json")
        told = _member(archive, "/byteorder")
        order = ">" if told is not None and archive.read(told).strip() == b"big" else "<"
        for name, entry in json.loads(archive.read(index))["config"].items():
            if entry.get("use_pickle"):
                raise unreadable(path, f"{name!r} is a pickle, not an array")
            raw = archive.read(root + entry["path_name"])
            arrays[name] = _array(path, name, entry["tensor_meta"], raw, order)
        program = _member(archive, "/models/model.json")
        graph = None if program is None else _graph(archive.read(program))
    return parts_of_mapping(arrays, graph=graph, part=part)


def _member(archive: zipfile.ZipFile, ending: str) -> str | None:
    return next((name for name in archive.namelist() if name.endswith(ending)), None)


def _graph(program: bytes) -> Graph | None:
    """Return the graph of an exported program, or None where it is of another form."""
    try:
        module = json.loads(program)["graph_module"]
        builder = GraphBuilder(dict(_parameters(module["signature"]["input_specs"])))
        for call in module["graph"]["nodes"]:
            taken = list(dict.fromkeys(_tensors(call["inputs"])))
            for name in taken:
                if name not in builder.owners and name not in builder.makers:
                    builder.add(PASS, given=[name])  # an input of the program
            parts = str(call["target"]).split(".")
            name = parts[3] if parts[:3] == ["torch", "ops", "aten"] and len(parts) > 3 else ""
            builder.add_function(name, taken, [*_tensors(call["outputs"])])
        return builder.graph_to([*_tensors(module["signature"]["output_specs"])])
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, RecursionError):
        return None


def _parameters(specs: list[Any]) -> Iterator[tuple[Hashable, Path]]:
    """Yield each parameter and the layer that holds it."""
    for spec in specs:
        for kind in ("parameter", "buffer"):
            if kind in spec:
                name = str(spec[kind][f"{kind}_name"])
                yield str(spec[kind]["arg"]["name"]), tuple(name.split(".")[:-1])


def _tensors(value: Any) -> Iterator[str]:
    """Yield the names of all tensors in serialised arguments."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in ("as_tensor", "as_tensors"):
                yield from (str(one["name"]) for one in ([inner] if key == "as_tensor" else inner))
            else:
                yield from _tensors(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _tensors(inner)


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
