"""HDF5 files of Keras: ``.weights.h5`` and the older ``.h5``.

A ``.weights.h5`` file names layers by class and counter (``conv2d``, ``conv2d_1``, ``dense``) and
variables by number, and says nothing of the order across classes. Two things tell it all the same.
Where Keras wrote the file, the metadata of each layer lie behind those of the layer before, so
the addresses in the file give the order. Where they do not (a repacked file, or one of a
subclassed model, which Keras writes by alphabet), the order is worked out from names and shapes.
An older ``.h5`` file lists its layers and names its variables.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from accuracy_from_weights.errors import MissingDependencyError
from accuracy_from_weights.weights.arrays import to_numpy
from accuracy_from_weights.weights.files.hdf5_safety import children, read_dataset
from accuracy_from_weights.weights.files.keras_config import LayerConfig, configs_by_name
from accuracy_from_weights.weights.files.limits import unreadable
from accuracy_from_weights.weights.keras_names import (
    COMPOSITE_ATTRIBUTES,
    VARIABLE_NAMES,
    KerasGroup,
    attention_projections,
    blocks_of_keras_groups,
    class_from_name,
    parts_of_keras_groups,
)
from accuracy_from_weights.weights.keras_variables import KNOWN_CLASSES, named_variables
from accuracy_from_weights.weights.layers import Array
from accuracy_from_weights.weights.ordering import Block, chained, counter, family
from accuracy_from_weights.weights.parts import Part

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
"""Groups that only hold the layers of a model."""

_NO_LAYERS = ("optimizer", "optimizer_weights", "seed_generator", "metrics", "_metrics", "loss")


def parts_of_file(path: str, size: int) -> list[Part]:
    """Kernels and normalisations of a ``.weights.h5`` or ``.h5`` file."""
    with open_hdf5(path, path) as file:
        if "layer_names" in file.attrs or "layer_names0" in file.attrs:
            return parts_of_keras_groups(list(_listed_groups(path, size, file, {})))
        if "model_weights" in file:
            model = children(path, file)["model_weights"]
            configs = _model_configs(file.attrs.get("model_config"))
            return parts_of_keras_groups(list(_listed_groups(path, size, model, configs)))
        return parts_of_store(path, size, file, None)


def open_hdf5(path: str, source: Any) -> Any:
    """Open an HDF5 file, by name or in memory, for reading.

    Raises
    ------
    MissingDependencyError
        When h5py is not installed.
    UnreadableFileError
        When the file is truncated or no HDF5 file.
    """
    try:
        import h5py
    except ImportError:
        raise MissingDependencyError(
            f"Expected h5py to be installed, to read {path!r}. Received: an environment without "
            'it; run `pip install "accuracy-from-weights[files]"`.'
        ) from None
    try:
        return h5py.File(source, "r")
    except OSError:
        raise unreadable(path, "which is truncated or no HDF5 file") from None


def parts_of_store(path: str, size: int, file: Any, config: LayerConfig | None) -> list[Part]:
    """Kernels and normalisations of Keras 3's own layout.

    Parameters
    ----------
    path : str
    size : int
        Of the file, in bytes.
    file : h5py.File
    config : LayerConfig or None
        Of the whole model, where it is known.
    """
    blocks = _stored_blocks(path, size, file, (), config)
    return [part for block in blocks for part in block.parts]


def _stored_blocks(
    path: str,
    size: int,
    group: Any,
    place: tuple[str, ...],
    config: LayerConfig | None,
    is_attention: bool = False,
) -> list[Block]:
    members = children(path, group)
    own = members.pop("vars", None)
    blocks = []
    if own is not None:
        blocks = blocks_of_keras_groups(
            list(_own_group(path, size, own, place, config, is_attention))
        )
    layers: dict[str, Any] = {}
    for container in CONTAINERS:
        if container in members:
            layers.update(children(path, members.pop(container)))
    attention = attention_projections(members)
    inside: dict[str, list[Block]] = {}
    members = {**layers, **members}
    for name, member in members.items():
        if name not in _NO_LAYERS and not name.startswith("seed_generator"):
            inner = config.layer(name) if config is not None else None
            is_projection = name in attention
            inside[name] = _stored_blocks(path, size, member, (*place, name), inner, is_projection)
    return blocks + _in_order(inside, members, config)


def _in_order(
    inside: Mapping[str, list[Block]], groups: Mapping[str, Any], config: LayerConfig | None
) -> list[Block]:
    """Layers of one model or composite layer, whose parts are given by their names in the file."""
    first = [name for name in COMPOSITE_ATTRIBUTES if name in inside]
    if config is not None and config.layers:
        first = [name for name in config.layers if name in inside]
    elif not first:
        filled = [name for name, blocks in inside.items() if blocks]
        written = sorted(filled, key=lambda name: _last_address(groups[name]))
        # Layers in the alphabet's order are those of a subclassed model, or of a repacked file.
        if written != sorted(written) and _agrees_with_counters(written):
            first = written
    rest = chained({name: blocks for name, blocks in inside.items() if name not in first})
    return [*(block for name in first for block in inside[name]), *rest]


def _own_group(
    path: str,
    size: int,
    own: Any,
    place: tuple[str, ...],
    config: LayerConfig | None,
    is_attention: bool,
) -> Iterator[KerasGroup]:
    datasets = children(path, own)
    arrays: list[Array] = []
    for name in sorted(datasets, key=counter):
        array = to_numpy(read_dataset(path, datasets[name], size), ".".join((*place, name)))
        if array is not None:
            arrays.append(array)
    stored_name = own.attrs.get("name", "")
    class_name = config.class_name if config is not None else ""
    if is_attention:
        class_name = "EinsumDense"
    if not class_name:
        # A subclassed model's groups are named by its attributes; then the layer's own name, made
        # from its class unless the user gave one, tells more.
        class_name = next(
            (n for n in (place[-1] if place else "", str(stored_name)) if _is_class(n)), ""
        )
    details = config.details if config is not None else {}
    for leaf, variables in named_variables(class_name or "".join(place[-1:]), arrays, details):
        inner = (*place, leaf) if leaf else place
        yield KerasGroup(inner, variables, class_name, details, is_attention)


def _last_address(item: Any, depth: int = 0) -> int:
    """Where in the file the last piece of metadata of a group lies.

    A piece may be put into space that was free before, but the last one marks how far the file
    had grown.
    """
    import h5py

    address: int = h5py.h5o.get_info(item.id).addr
    if depth < 8 and isinstance(item, h5py.Group):
        links = (item.get(name, getlink=True) for name in item)
        if all(isinstance(link, h5py.HardLink) for link in links):
            return max([address, *(_last_address(inner, depth + 1) for inner in item.values())])
    return address


def _agrees_with_counters(names: list[str]) -> bool:
    families: dict[str, int] = {}
    for name in names:
        number = counter(name)[0]
        if number < families.get(family(name), 0):
            return False
        families[family(name)] = number
    return True


def _listed_groups(
    path: str, size: int, model: Any, configs: Mapping[str, LayerConfig]
) -> Iterator[KerasGroup]:
    """Layers of an older ``.h5`` file, which lists them in order and names their variables."""
    layers = children(path, model)
    for layer_name in _listed(model, "layer_names"):
        if layer_name not in layers:
            raise unreadable(path, f"which lists the layer {layer_name!r} but does not hold it")
        arrays: dict[tuple[str, ...], dict[str, Array]] = {}
        for weight_name in _listed(layers[layer_name], "weight_names"):
            item = layers[layer_name]
            names = tuple(name for name in weight_name.split("/") if name)
            for name in names:
                item = children(path, item)[name]
            array = to_numpy(read_dataset(path, item, size), weight_name)
            if array is not None:
                arrays.setdefault(names[:-1], {})[names[-1].removesuffix(":0")] = array
        for names, variables in arrays.items():
            config = configs.get(names[-1] if names else layer_name, LayerConfig("", {}, {}))
            place, details = names or (layer_name,), config.details
            if any(name in VARIABLE_NAMES for name in variables):
                yield KerasGroup(place, variables, config.class_name, details)
                continue
            numbered = named_variables(config.class_name, list(variables.values()), details)
            for suffix, named in numbered:
                inner = (*place, suffix) if suffix else place
                yield KerasGroup(inner, named, config.class_name, details)


def _listed(group: Any, attribute: str) -> list[str]:
    """Read a list of names, which HDF5's limit on attributes may have split into numbered ones."""
    values = group.attrs.get(attribute)
    if values is None:
        pieces: list[Any] = []
        while f"{attribute}{len(pieces)}" in group.attrs:
            pieces.append(group.attrs[f"{attribute}{len(pieces)}"])
        values = np.concatenate(pieces) if pieces else []
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _model_configs(text: Any) -> dict[str, LayerConfig]:
    try:
        return configs_by_name(json.loads(text)) if text else {}
    except (ValueError, TypeError, RecursionError):
        return {}


def _is_class(name: str) -> bool:
    return class_from_name(name) in KNOWN_CLASSES
