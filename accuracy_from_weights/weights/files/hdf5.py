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
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accuracy_from_weights.errors import UnreadableFileError
from accuracy_from_weights.weights.arrays import to_numpy
from accuracy_from_weights.weights.checkpoints import parts_under
from accuracy_from_weights.weights.files.errors import unreadable
from accuracy_from_weights.weights.files.hdf5_safety import SafeHdf5
from accuracy_from_weights.weights.files.keras_config import (
    LayerConfig,
    layer_config,
    named_configs,
)
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.layers import Array, Path
from accuracy_from_weights.weights.naming.keras_names import (
    COMPOSITE_ATTRIBUTES,
    KerasGroup,
    attention_projections,
    blocks_of_keras_groups,
    class_from_name,
)
from accuracy_from_weights.weights.naming.keras_variables import (
    KNOWN_CLASSES,
    WITH_KERNEL,
    keras_groups,
    named_variables,
)
from accuracy_from_weights.weights.order.chaining import (
    Block,
    counter,
    n_steps_down,
    parts_of_blocks,
)
from accuracy_from_weights.weights.order.graph import with_before, with_graph
from accuracy_from_weights.weights.order.keras_graph import before_by_names, graph_of_steps
from accuracy_from_weights.weights.order.layer_order import in_order_of_flow
from accuracy_from_weights.weights.quantised import dequantised, dequantised_in_order

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
"""Groups that only hold the layers of a model."""

_NO_LAYERS = ("optimizer", "optimizer_weights", "seed_generator", "metrics", "_metrics", "loss")


def parts_of_file(path: str, part: str | None = None) -> list[Part]:
    """Return the parts of a ``.weights.h5`` or ``.h5`` file."""
    with SafeHdf5(path) as file:
        return parts_under(_all_parts(file), part)


def _all_parts(file: SafeHdf5) -> list[Part]:
    root = file.root
    if "layer_names" in root.attrs or "layer_names0" in root.attrs:
        return parts_of_blocks(blocks_of_keras_groups(_listed_groups(file, root, {})))
    members = file.children(root)
    if "model_weights" not in members:
        return parts_of_store(file)
    config = _model_config(root.attrs.get("model_config"))
    groups = _listed_groups(file, members["model_weights"], dict(named_configs(config)))
    blocks = blocks_of_keras_groups(groups)
    if config.layers:
        blocks = with_graph(blocks, graph_of_steps(config.steps))
    return parts_of_blocks(blocks)


def parts_of_store(file: SafeHdf5, config: LayerConfig | None = None) -> list[Part]:
    """Return the parts of a model in Keras 3's own layout, with its configuration if known."""
    config = config or LayerConfig()
    store = _Store(file)
    blocks = in_order_of_flow(store.blocks(file.root, (), config), known=store.ordered)
    if config.layers:
        blocks = with_graph(blocks, graph_of_steps(config.steps, has_keys=True))
    return parts_of_blocks(blocks)


def _in_part(path: str, what: str) -> UnreadableFileError:
    """Return the error for a file that holds a part of a model, as one of several shards does."""
    return unreadable(
        path,
        f"{what}, as one of several files does; give their index, which ends in .weights.json, or "
        "save the model once it is built",
    )


@dataclass(slots=True)
class _Store:
    """Keras 3's own layout, and the groups found whose layers are in the data's order."""

    file: SafeHdf5
    ordered: set[Path] = field(default_factory=set)

    def blocks(
        self, group: Any, path: Path, config: LayerConfig, *, is_attention: bool = False
    ) -> list[Block]:
        """Return the blocks of one group and of those inside it."""
        members = self.file.visit(group)
        own = members.pop("vars", None)
        blocks = []
        if own is not None:
            own_groups = _own_groups(self.file, own, path, config, is_attention)
            blocks = blocks_of_keras_groups(own_groups)
        layers: dict[str, Any] = {}
        for container in CONTAINERS:
            if container in members:
                layers.update(self.file.visit(members.pop(container)))
        projections = attention_projections(members)
        members = {**layers, **members}
        inside = {
            name: self.blocks(
                member, (*path, name), config.layer(name), is_attention=name in projections
            )
            for name, member in members.items()
            if name not in _NO_LAYERS and not name.startswith("seed_generator")
        }
        first = _in_order(self.file, inside, members, config)
        rest = [name for name, found in inside.items() if found and name not in first]
        if not rest:
            self.ordered.add(path)
        return blocks + [block for name in [*first, *rest] for block in inside[name]]


def _in_order(
    file: SafeHdf5,
    inside: dict[str, list[Block]],
    groups: Mapping[str, Any],
    config: LayerConfig,
) -> list[str]:
    """Return the names of a model's or composite layer's parts, as far as their order is known."""
    first = [name for name in COMPOSITE_ATTRIBUTES if name in inside]
    if config.layers:
        first = [name for name in config.layers if name in inside]
    elif not first:
        listed = sorted(inside, key=lambda name: file.last_address(groups[name]))
        written = [name for name in listed if inside[name]]
        # Layers in the alphabet's order are those of a subclassed model, or of a repacked file.
        if written != sorted(written) and not n_steps_down(written):
            first = written
            for name, before in before_by_names(listed).items():
                inside[name] = [with_before(block, before) for block in inside[name]]
    return first


def _own_groups(
    file: SafeHdf5, own: Any, path: Path, config: LayerConfig, is_attention: bool
) -> Iterator[KerasGroup]:
    """Yield the variables of one layer, or of several kernels in a layer of the user's."""
    name = ".".join(path)
    datasets = file.visit(own)
    stored = [file.read(datasets[key]) for key in sorted(datasets, key=counter)]
    values = dequantised_in_order(stored, name)
    arrays = [array for value in values if (array := to_numpy(value, name)) is not None]
    class_name = "EinsumDense" if is_attention else config.class_name
    if not class_name:
        # A subclassed model's groups are named by its attributes; then the layer's own name, made
        # from its class unless the user gave one, tells more.
        names = ("".join(path[-1:]), str(own.attrs.get("name", "")))
        class_name = next((n for n in names if class_from_name(n) in KNOWN_CLASSES), "")
    if stored and "name" not in own.attrs and "vars" not in file.root:
        # Keras writes the name where a layer begins, and the model's own variables first of all.
        raise _in_part(file.path, f"it begins in the middle, with {name!r}")
    if not stored and class_from_name(class_name) in WITH_KERNEL:
        raise _in_part(file.path, f"it lacks the variables of {name!r}")
    known_as = class_name or "".join(path[-1:])
    for suffix, variables in named_variables(known_as, arrays, config.arguments):
        inner = (*path, suffix) if suffix else path
        yield KerasGroup(inner, variables, class_name, config.arguments, is_attention)


def _listed_groups(
    file: SafeHdf5, model: Any, configs: Mapping[str, LayerConfig]
) -> Iterator[KerasGroup]:
    """Yield the layers of an older ``.h5`` file, in the order in which it lists them."""
    layers = file.children(model)
    for layer_name in _listed(model, "layer_names"):
        if layer_name not in layers:
            raise unreadable(file.path, f"it lists the layer {layer_name!r} but does not hold it")
        stored: dict[Path, Any] = {}
        for weight_name in _listed(layers[layer_name], "weight_names"):
            item = layers[layer_name]
            names = tuple(name for name in weight_name.split("/") if name)
            for name in names:
                item = file.children(item)[name]
            stored[(*names[:-1], names[-1].removesuffix(":0"))] = file.read(item)
        arrays: dict[Path, dict[str, Array]] = {}
        for names, value in dequantised(stored).items():
            array = to_numpy(value, "/".join(names))
            if array is not None:
                arrays.setdefault(names[:-1], {})[names[-1]] = array
        for names, variables in arrays.items():
            config = configs.get(names[-1] if names else layer_name, LayerConfig())
            # Of a sequential model, the names begin with the model's own.
            start = names.index(layer_name) if layer_name in names else 0
            path = names[start:] or (layer_name,)
            yield from keras_groups(path, [*variables.items()], config.class_name, config.arguments)


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
