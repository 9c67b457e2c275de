"""Reading of networks in several files (shards), through the index that lies beside them.

transformers splits ``model.safetensors`` into ``model-00001-of-00002.safetensors`` and so on, and
writes ``model.safetensors.index.json``, whose ``weight_map`` tells each tensor's file. Keras splits
``model.weights.h5`` into ``model_00000.weights.h5`` and so on, and writes ``model.weights.json``,
whose ``weight_map`` tells each layer's files.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from accuracy_from_weights.weights.checkpoints import parts_under
from accuracy_from_weights.weights.files.errors import damaged, unreadable
from accuracy_from_weights.weights.files.hdf5 import parts_of_store
from accuracy_from_weights.weights.files.hdf5_safety import SafeHdf5, require_h5py
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.naming.state_dicts import check_is_mapping, parts_of_mapping

_INDEX = re.compile(r".*(?:\.(?:safetensors|bin|pt|pth)\.index|\.weights)\.json")
_SHARD = re.compile(r"(.+)-\d+-of-\d+(\.(?:safetensors|bin|pt|pth))")
_KERAS_SHARD = re.compile(r"(.+)_\d{5}(\.weights)\.h5")
_SLICE = re.compile(r"(consolidated\.|mp_rank_)(\d\d)(.*)")
"""Files that each hold a slice of every tensor."""

_LARGEST_INDEX = 100_000_000
_READERS = {".safetensors": "safetensors", ".bin": "pickled", ".pt": "pickled", ".pth": "pickled"}


def index_of(path: str) -> str | None:
    """Return the index through which a file's network is read; None for a network in one file.

    A file that is one of several, without an index beside it, is an `UnreadableFileError`.
    """
    folder, name = os.path.split(path)
    if _INDEX.fullmatch(name):
        return path
    if shard := _SHARD.fullmatch(name):
        index = f"{shard[1]}{shard[2]}.index.json"
        if not os.path.isfile(os.path.join(folder, index)):
            raise unreadable(
                path,
                f"it is one of several files, whose index {index!r} is missing; put it beside them",
            )
        return os.path.join(folder, index)
    if shard := _KERAS_SHARD.fullmatch(name):
        index = os.path.join(folder, f"{shard[1]}{shard[2]}.json")
        if os.path.isfile(index) and name in _files(index, _weight_map(index)):
            return index
    if slice_ := _SLICE.fullmatch(name):
        others = f"{slice_[1]}{1 - min(int(slice_[2]), 1):02d}{slice_[3]}"
        if os.path.exists(os.path.join(folder, others)):
            raise unreadable(
                path, f"each tensor is sliced over several files, of which {others!r} is another"
            )
    return None


def parts_of_index(path: str, part: str | None) -> list[Part]:
    """Return the parts of a network whose tensors lie in several files, by their index."""
    weight_map = _weight_map(path)
    if path.endswith(".weights.json"):
        return parts_under(_parts_of_keras(path, weight_map), part)
    tensors: dict[str, Any] = {}
    is_ordered = True
    for file in sorted(_files(path, weight_map)):
        reader = _READERS.get(os.path.splitext(file)[1])
        if reader is None:
            raise unreadable(path, f"it names {file!r}, which is no file of weights")
        module = importlib.import_module(f"accuracy_from_weights.weights.files.{reader}")
        found = module.tensors_of_file(os.path.join(os.path.dirname(path), file))
        tensors |= check_is_mapping(found)
        is_ordered = is_ordered and reader == "pickled"
    missing = next((name for name in weight_map if name not in tensors), None)
    if missing is not None:
        raise damaged(path, f"its tensor {missing!r} is in none of its files")
    return parts_of_mapping(tensors, order_is_known=is_ordered, part=part)


def _weight_map(path: str) -> Mapping[str, Any]:
    if os.path.getsize(path) > _LARGEST_INDEX:
        raise unreadable(path, "it is too large for an index")
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (ValueError, RecursionError):
        raise damaged(path, "it is damaged or no index") from None
    weight_map = content.get("weight_map") if isinstance(content, Mapping) else None
    if not isinstance(weight_map, Mapping) or not weight_map:
        raise unreadable(path, "it has no 'weight_map', which an index has")
    return weight_map


def _files(path: str, weight_map: Mapping[str, Any]) -> list[str]:
    """Return the names of an index's files, in its order, all of them beside it."""
    named: dict[Any, None] = {}
    for files in weight_map.values():
        named.update(dict.fromkeys([files] if isinstance(files, str) else files))
    for file in named:
        if not isinstance(file, str) or os.path.basename(file) != file or file in ("", ".", ".."):
            raise unreadable(path, f"it names {file!r}, which is no file beside it")
        if not os.path.isfile(os.path.join(os.path.dirname(path), file)):
            raise unreadable(path, f"its file {file!r} is missing; put it beside the index")
    return list(named)


def _parts_of_keras(path: str, weight_map: Mapping[str, Any]) -> list[Part]:
    """Gather the layers of all shards in one file in memory, in the order of the shards."""
    buffer = io.BytesIO()
    with require_h5py(path).File(buffer, "w") as whole:
        for name in _files(path, weight_map):
            with SafeHdf5(os.path.join(os.path.dirname(path), name)) as shard:
                _copy(shard, whole)
        missing = next((place for place in weight_map if place not in whole), None)
        if missing is not None:
            raise damaged(path, f"its layer {missing!r} is in none of its files")
    with SafeHdf5(path, buffer) as file:
        return parts_of_store(file)


def _copy(shard: SafeHdf5, whole: Any) -> None:
    for place, group in _variables(shard, shard.root, ""):
        target = whole.require_group(place)
        name = group.attrs.get("name")
        if isinstance(name, str):
            target.attrs["name"] = name
        for key, dataset in shard.children(group).items():
            target.create_dataset(key, data=shard.read(dataset))


def _variables(shard: SafeHdf5, group: Any, place: str) -> list[tuple[str, Any]]:
    """Return the places of all layers in a shard with their variables, in the order of writing."""
    found: list[tuple[str, Any]] = []
    for name, member in shard.visit(group).items():
        if name == "vars":
            found.append((f"{place}/vars", member))
        else:
            found += _variables(shard, member, f"{place}/{name}")
    return sorted(found, key=lambda item: shard.address(item[1]))
