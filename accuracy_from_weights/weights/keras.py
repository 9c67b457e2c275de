"""Reading of Keras 3 models, on any backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights.arrays import tensor_in, to_numpy
from accuracy_from_weights.weights.checkpoints import no_such_part
from accuracy_from_weights.weights.device_arrays import small_to_host
from accuracy_from_weights.weights.files.keras_config import stored_name
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.layers import Array, Path
from accuracy_from_weights.weights.naming.keras_names import (
    COMPOSITE_ATTRIBUTES,
    KerasGroup,
    blocks_of_keras_groups,
)
from accuracy_from_weights.weights.naming.keras_variables import keras_groups
from accuracy_from_weights.weights.order.chaining import parts_of_blocks
from accuracy_from_weights.weights.order.graph import with_graph
from accuracy_from_weights.weights.order.keras_graph import Step, graph_of_steps
from accuracy_from_weights.weights.order.layer_order import in_order_of_flow
from accuracy_from_weights.weights.quantised import dequantised

_CONFIG = ("epsilon", "equation", "center", "scale")


def parts_of_model(model: Any) -> list[Part]:
    """Return the kernels and normalisations of a ``keras.Model`` or ``keras.Layer``, in order.

    A functional or sequential model knows its graph. The order of any other is worked out from
    names and shapes, as it is for its files. A layer that is used twice is read once.
    """
    known: set[Path] = set()
    values = small_to_host({id(each): tensor_in(each) for each in model.variables})
    blocks = blocks_of_keras_groups(_groups(model, (), values, set(), known))
    blocks = in_order_of_flow(blocks, known=known)
    steps = _steps(model)
    if steps:
        blocks = with_graph(blocks, graph_of_steps(steps))
    return parts_of_blocks(blocks)


def _steps(model: Any) -> list[Step]:
    """Return the calls of a functional or sequential model's layers; none of any other model."""
    levels = getattr(model, "_nodes_by_depth", None)
    if isinstance(levels, Mapping):
        calls: dict[int, list[Any]] = {}
        for nodes in levels.values():
            for node in nodes:
                calls.setdefault(id(node.operation), []).append(node)
        return [
            _step(operation, [str(before.operation.name) for before in node.parent_nodes])
            for operation in model.operations
            for node in calls.get(id(operation), ())
        ]
    if _keras_class(model) != "Sequential":
        return []
    names = [str(layer.name) for layer in model.layers]
    return [_step(layer, names[max(at - 1, 0) : at]) for at, layer in enumerate(model.layers)]


def _step(layer: Any, inputs: list[str]) -> Step:
    function = getattr(layer, "activation", None)
    names = (getattr(function, key, None) for key in ("__name__", "name"))
    activation = next((name for name in names if isinstance(name, str)), None)
    if function is not None and activation is None:
        activation = type(function).__name__
    if getattr(layer, "negative_slope", 0):
        activation = "leaky_relu"
    inside = tuple(_steps(layer))
    return Step(str(layer.name), _keras_class(layer), activation, tuple(inputs), inside)


def layer_inside(model: Any, part: str) -> Any:
    """Return the layer inside a model that has a name, or raise `UnsupportedModelError`.

    The name is an attribute's, or those of layers, the outer ones first, with dots between them.
    """
    named = dict(_named_layers(model, (), set()))
    if part in named:
        return named[part]
    attribute = getattr(model, part, None)
    if any(layer is attribute for layer in named.values()):
        return attribute
    raise no_such_part(part, [(name.partition(".")[0],) for name in named])


def _named_layers(layer: Any, path: Path, seen: set[int]) -> Iterator[tuple[str, Any]]:
    for child in _children(layer):
        if id(child) not in seen:
            seen.add(id(child))
            inner = (*path, str(child.name))
            yield ".".join(inner), child
            yield from _named_layers(child, inner, seen)


def _groups(
    layer: Any, path: Path, values: Mapping[int, Any], seen: set[int], known: set[Path]
) -> Iterator[KerasGroup]:
    """Yield the variables of all layers, and add to `known` where their order is the data's."""
    if id(layer) in seen:
        return
    seen.add(id(layer))
    places = {} if type(layer).__module__.startswith("keras.") else _attributes(layer)
    if not places or _steps(layer):
        known.add(path)
        places = {}
    config = {key: getattr(layer, key) for key in _CONFIG if hasattr(layer, key)}
    variables = _own_variables(layer, path, values)
    yield from keras_groups(path, variables, _keras_class(layer), config)
    for child in _children(layer):
        place = places.get(id(child), (str(child.name),))
        yield from _groups(child, (*path, *place), values, seen, known)


def _attributes(layer: Any) -> dict[int, Path]:
    """Return, by ``id``, where a layer of the user's keeps each layer, as Keras' files name it.

    That is an attribute; of a list, also the class and a counter.
    """
    places: dict[int, Path] = {}
    for name in sorted({*vars(layer), *(getattr(layer, "_modules", None) or {})}):
        value = getattr(layer, name, None)
        if name.startswith("_") or name == "layers":
            continue
        items = list(value.values()) if isinstance(value, Mapping) else value
        if not isinstance(items, list | tuple):
            places.setdefault(id(value), (name,))
            continue
        counts: dict[str, int] = {}
        for item in items:
            places.setdefault(id(item), (name, stored_name(type(item).__name__, counts)))
    return places


def _children(layer: Any) -> list[Any]:
    layers = getattr(layer, "layers", None)
    children = list(layers) if isinstance(layers, list | tuple) else []
    for attribute in COMPOSITE_ATTRIBUTES:
        value = getattr(layer, attribute, None)
        children.extend(value if isinstance(value, list | tuple) else [value])
    children.extend(getattr(layer, "_layers", None) or [])
    return [child for child in children if hasattr(child, "variables") and hasattr(child, "name")]


def _keras_class(layer: Any) -> str:
    """Return the name of the nearest class that Keras itself defines."""
    for base in type(layer).__mro__:
        if base.__module__.split(".")[0] == "keras":
            return base.__name__
    return type(layer).__name__


def _own_variables(layer: Any, path: Path, known: Mapping[int, Any]) -> list[tuple[str, Array]]:
    mode = getattr(layer, "quantization_mode", None)
    is_adapted = getattr(layer, "lora_enabled", False)
    if mode not in (None, "int8", "float8") or (mode == "int8" and is_adapted):
        how = f"{mode} with LoRA" if is_adapted else mode
        raise UnsupportedModelError(
            f"Layer {layer.name!r} is quantised ({how}), which cannot be read; read the model "
            "before it is quantised."
        )
    own = [
        *getattr(layer, "_trainable_variables", ()),
        *getattr(layer, "_non_trainable_variables", ()),
    ]
    values: list[tuple[str, Any]] = []
    for variable in own:
        # Keras shows the sum of a kernel and its low-rank change as the attribute `kernel`.
        is_sum = is_adapted and variable.name in ("kernel", "embeddings")
        value = getattr(layer, variable.name) if is_sum else known.get(id(variable), variable)
        values.append((variable.name, value))
    if mode == "int8":
        named = dequantised({(layer.name, name): value for name, value in values})
        values = [(name, value) for (_, name), value in named.items()]
    arrays = [(name, to_numpy(value, ".".join((*path, name)))) for name, value in values]
    return [(name, array) for name, array in arrays if array is not None]
