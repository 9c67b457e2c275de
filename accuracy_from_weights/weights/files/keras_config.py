"""A Keras model's configuration, read as JSON and never made into code: layers and their order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accuracy_from_weights.weights.order.keras_graph import Step

_FUNCTIONS = ("keras.ops", "keras.src.ops", "keras.src.activations")


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
    steps : tuple of Step
        Of a model: what feeds what.
    """

    class_name: str
    details: Mapping[str, Any]
    layers: dict[str, LayerConfig]
    steps: tuple[Step, ...] = ()

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
    steps: list[Step] = []
    counts: dict[str, int] = {}
    for inner in _nodes(details):
        config, key = layer_config(inner), ""
        # Functions used as layers stand in the configuration, but not in the store.
        if not str(inner.get("module")).startswith(_FUNCTIONS):
            key = snake_case(config.class_name)
            n = counts[key] = counts.get(key, -1) + 1
            key = f"{key}_{n}" if n else key
            layers[key] = config
        steps.extend(_steps(inner, config, key, steps))
    name = class_name if isinstance(class_name, str) else ""
    return LayerConfig(name, details, layers, tuple(steps))


def configs_by_name(config: LayerConfig) -> dict[str, LayerConfig]:
    """Return all layers of a model, nested ones too, by the layer's own name."""
    return dict(_named(config))


def _named(config: LayerConfig) -> Iterator[tuple[str, LayerConfig]]:
    name = config.details.get("name")
    if isinstance(name, str):
        yield name, config
    for inner in config.layers.values():
        yield from _named(inner)


def _nodes(details: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    nodes = details.get("layers")
    return [node for node in nodes if isinstance(node, Mapping)] if isinstance(nodes, list) else []


def _steps(
    node: Mapping[str, Any], config: LayerConfig, key: str, before: Sequence[Step]
) -> Iterator[Step]:
    """Yield each call of a layer; a sequential model calls a layer once, with the one before it."""
    name = str(config.details.get("name") or node.get("name"))
    activation = _activation(config.details)
    calls = node.get("inbound_nodes")
    sources = [tuple(_sources(call)) for call in calls] if isinstance(calls, list) else None
    for inputs in sources or [tuple(step.name for step in before[-1:]) if sources is None else ()]:
        yield Step(name, config.class_name, activation, inputs, config.steps, key or name)


def _activation(details: Mapping[str, Any]) -> str | None:
    activation = details.get("activation")
    if isinstance(activation, Mapping):  # a function or a layer, serialised
        inner = activation.get("config")
        activation = inner if isinstance(inner, str) else activation.get("class_name")
    if details.get("negative_slope"):
        return "leaky_relu"
    return activation if isinstance(activation, str) else None


def _sources(call: Any) -> Iterator[str]:
    """Return the names of the layers whose outputs a call takes, in any version's spelling."""
    if isinstance(call, Mapping):
        history = call.get("keras_history")
        if isinstance(history, list) and history:
            yield str(history[0])
        else:
            for value in call.values():
                yield from _sources(value)
    elif isinstance(call, list):
        if len(call) >= 3 and isinstance(call[0], str) and isinstance(call[1], int):
            yield call[0]
        else:
            for value in call:
                yield from _sources(value)


def snake_case(class_name: str) -> str:
    """Return the name under which Keras stores a class's first layer: ``Conv2D`` -> ``conv2d``."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
