"""A Keras model's configuration, read as JSON and never made into code: layers and their order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False, slots=True)
class LayerConfig:
    """One layer's class, its arguments, and the layers inside it.

    Attributes
    ----------
    class_name : str
        Empty where unknown.
    details : mapping
        The layer's arguments.
    layers : dict of str to LayerConfig
        Of a model: in the order of data flow, by the names under which Keras stores them.
    """

    class_name: str
    details: Mapping[str, Any]
    layers: dict[str, LayerConfig]

    def layer(self, name: str) -> LayerConfig | None:
        """Return the configuration of a part, where it is known."""
        if name in self.layers:
            return self.layers[name]
        inner = self.details.get(name)
        if isinstance(inner, Mapping) and isinstance(inner.get("class_name"), str):
            return layer_config(inner)
        return None


def layer_config(node: Any) -> LayerConfig:
    """Read one serialised layer or model; what is unexpected in it is left out."""
    if not isinstance(node, Mapping):
        return LayerConfig("", {}, {})
    class_name, details = node.get("class_name"), node.get("config")
    if isinstance(details, list):  # Sequential in the oldest files
        details = {"layers": details}
    if not isinstance(details, Mapping):
        details = {}
    layers: dict[str, LayerConfig] = {}
    counts: dict[str, int] = {}
    for inner in _layer_nodes(details):
        key = _snake_case(str(inner.get("class_name", "")))
        n = counts[key] = counts.get(key, -1) + 1
        layers[f"{key}_{n}" if n else key] = layer_config(inner)
    return LayerConfig(class_name if isinstance(class_name, str) else "", details, layers)


def configs_by_name(node: Any) -> dict[str, LayerConfig]:
    """All layers of a serialised model, nested ones too, by the layer's own name."""
    return dict(_named(layer_config(node)))


def _named(config: LayerConfig) -> Iterator[tuple[str, LayerConfig]]:
    name = config.details.get("name")
    if isinstance(name, str):
        yield name, config
    for inner in config.layers.values():
        yield from _named(inner)


def _layer_nodes(details: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    nodes = details.get("layers")
    if not isinstance(nodes, list):
        return []
    return [
        node
        for node in nodes
        if isinstance(node, Mapping)
        # Functions used as layers (keras.ops) stand in the configuration, but not in the store.
        and not str(node.get("module")).startswith(("keras.ops", "keras.src.ops"))
    ]


def _snake_case(class_name: str) -> str:
    """Return the name under which Keras stores a class's first layer: ``Conv2D`` -> ``conv2d``."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
