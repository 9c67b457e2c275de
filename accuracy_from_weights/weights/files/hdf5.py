"""Reading of Keras's HDF5 files: ``.weights.h5`` and the older ``.h5``.

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

from accuracy_from_weights.errors import UnreadableFileError
from accuracy_from_weights.weights.arrays import to_numpy
from accuracy_from_weights.weights.checkpoints import parts_under
from accuracy_from_weights.weights.files.errors import unreadable
from accuracy_from_weights.weights.files.hdf5_safety import SafeHdf5
from accuracy_from_weights.weights.files.keras_config import (
    LayerConfig,
    configs_by_name,
    layer_config,
)
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.layers import Array
from accuracy_from_weights.weights.naming.keras_names import (
    COMPOSITE_ATTRIBUTES,
    VARIABLE_NAMES,
    KerasGroup,
    attention_projections,
    blocks_of_keras_groups,
    class_from_name,
    parts_of_keras_groups,
)
from accuracy_from_weights.weights.naming.keras_variables import (
    KNOWN_CLASSES,
    WITH_KERNEL,
    named_variables,
)
from accuracy_from_weights.weights.order.chaining import Block, counter, family
from accuracy_from_weights.weights.order.graph import with_before, with_graph
from accuracy_from_weights.weights.order.keras_graph import before_by_names, graph_of_steps
from accuracy_from_weights.weights.order.layer_order import in_order_of_flow
from accuracy_from_weights.weights.packed import unpacked, unpacked_in_order

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
"""Groups that only hold the layers of a model."""

_NO_LAYERS = ("optimizer", "optimizer_weights", "seed_generator", "metrics", "_metrics", "loss")


def parts_of_file(path: str, size: int, part: str | None = None) -> list[Part]:
    """Return the kernels and normalisations of a ``.weights.h5`` or ``.h5`` file."""
    parts = _all_parts(path, size)
    return parts if part is None else parts_under(parts, part)


def _all_parts(path: str, size: int) -> list[Part]:
    with SafeHdf5(path, size) as file:
        root = file.root
        if "layer_names" in root.attrs or "layer_names0" in root.attrs:
            return parts_of_keras_groups(list(_listed_groups(file, root, {})))
        members = file.children(root)
        if "model_weights" in members:
            config = _model_config(root.attrs.get("model_config"))
            groups = _listed_groups(file, members["model_weights"], configs_by_name(config))
            blocks = blocks_of_keras_groups(list(groups))
            if config.layers:
                blocks = with_graph(blocks, graph_of_steps(config.steps))
            return [part for block in blocks for part in block.parts]
        return parts_of_store(file, None)


def parts_of_store(file: SafeHdf5, config: LayerConfig | None) -> list[Part]:
    """Return the kernels and normalisations of Keras 3's own layout.

    Parameters
    ----------
    file : SafeHdf5
    config : LayerConfig or None
        Of the whole model, where it is known.
    """
    known: set[tuple[str, ...]] = set()
    blocks = in_order_of_flow(_stored_blocks(file, file.root, (), config, known), known=known)
    if config is not None and config.layers:
        blocks = with_graph(blocks, graph_of_steps(config.steps, has_keys=True))
    return [part for block in blocks for part in block.parts]


def _in_part(path: str, what: str) -> UnreadableFileError:
    """Return the error for a file that holds a part of a model, as one of several shards does."""
    return unreadable(
        path,
        f"{what}, as one of several files does; give their index, which ends in .weights.json, or "
        "save the model once it is built",
    )


def _stored_blocks(
    file: SafeHdf5,
    group: Any,
    place: tuple[str, ...],
    config: LayerConfig | None,
    known: set[tuple[str, ...]],
    is_attention: bool = False,
) -> list[Block]:
    """Return the blocks of one group, and add to `known` where their order is the data's."""
    members = file.visit(group)
    own = members.pop("vars", None)
    blocks = []
    if own is not None:
        blocks = blocks_of_keras_groups(list(_own_group(file, own, place, config, is_attention)))
    layers: dict[str, Any] = {}
    for container in CONTAINERS:
        if container in members:
            layers.update(file.visit(members.pop(container)))
    attention = attention_projections(members)
    inside: dict[str, list[Block]] = {}
    members = {**layers, **members}
    for name, member in members.items():
        if name not in _NO_LAYERS and not name.startswith("seed_generator"):
            inner = config.layer(name) if config is not None else None
            is_projection = name in attention
            inner_place = (*place, name)
            inside[name] = _stored_blocks(file, member, inner_place, inner, known, is_projection)
    first = _in_order(file, inside, members, config)
    rest = [name for name, found in inside.items() if found and name not in first]
    if not rest:
        known.add(place)
    return blocks + [block for name in [*first, *rest] for block in inside[name]]


def _in_order(
    file: SafeHdf5,
    inside: dict[str, list[Block]],
    groups: Mapping[str, Any],
    config: LayerConfig | None,
) -> list[str]:
    """Return the names of a model's or composite layer's parts, as far as their order is known."""
    first = [name for name in COMPOSITE_ATTRIBUTES if name in inside]
    if config is not None and config.layers:
        first = [name for name in config.layers if name in inside]
    elif not first:
        listed = sorted(inside, key=lambda name: file.last_address(groups[name]))
        written = [name for name in listed if inside[name]]
        # Layers in the alphabet's order are those of a subclassed model, or of a repacked file.
        if written != sorted(written) and _agrees_with_counters(written):
            first = written
            for name, before in before_by_names(listed).items():
                inside[name] = [with_before(block, before) for block in inside[name]]
    return first


def _own_group(
    file: SafeHdf5,
    own: Any,
    place: tuple[str, ...],
    config: LayerConfig | None,
    is_attention: bool,
) -> Iterator[KerasGroup]:
    datasets = file.visit(own)
    stored = [file.read(datasets[name]) for name in sorted(datasets, key=counter)]
    values = unpacked_in_order(stored, ".".join(place))
    arrays = [a for value in values if (a := to_numpy(value, ".".join(place))) is not None]
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
    if stored and "name" not in own.attrs and "vars" not in file.root:
        # Keras writes the name where a layer begins, and the model's own variables first of all.
        raise _in_part(file.path, f"it begins in the middle, with {'.'.join(place)!r}")
    if not stored and class_from_name(class_name) in WITH_KERNEL:
        raise _in_part(file.path, f"it lacks the variables of {'.'.join(place)!r}")
    details = config.details if config is not None else {}
    for leaf, variables in named_variables(class_name or "".join(place[-1:]), arrays, details):
        inner = (*place, leaf) if leaf else place
        yield KerasGroup(inner, variables, class_name, details, is_attention)


def _agrees_with_counters(names: list[str]) -> bool:
    families: dict[str, int] = {}
    for name in names:
        number = counter(name)[0]
        if number < families.get(family(name), 0):
            return False
        families[family(name)] = number
    return True


def _listed_groups(
    file: SafeHdf5, model: Any, configs: Mapping[str, LayerConfig]
) -> Iterator[KerasGroup]:
    """Yield the layers of an older ``.h5`` file, in the order in which it lists them."""
    layers = file.children(model)
    for layer_name in _listed(model, "layer_names"):
        if layer_name not in layers:
            raise unreadable(file.path, f"it lists the layer {layer_name!r} but does not hold it")
        stored: dict[tuple[str, ...], Any] = {}
        for weight_name in _listed(layers[layer_name], "weight_names"):
            item = layers[layer_name]
            names = tuple(name for name in weight_name.split("/") if name)
            for name in names:
                item = file.children(item)[name]
            stored[(*names[:-1], names[-1].removesuffix(":0"))] = file.read(item)
        arrays: dict[tuple[str, ...], dict[str, Array]] = {}
        for names, value in unpacked(stored).items():
            array = to_numpy(value, "/".join(names))
            if array is not None:
                arrays.setdefault(names[:-1], {})[names[-1]] = array
        for names, variables in arrays.items():
            config = configs.get(names[-1] if names else layer_name, LayerConfig("", {}, {}))
            # Of a sequential model, the names begin with the model's own.
            start = names.index(layer_name) if layer_name in names else 0
            place, details = names[start:] or (layer_name,), config.details
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


def _model_config(text: Any) -> LayerConfig:
    try:
        return layer_config(json.loads(text) if text else None)
    except (ValueError, TypeError, RecursionError):
        return layer_config(None)


def _is_class(name: str) -> bool:
    return class_from_name(name) in KNOWN_CLASSES
