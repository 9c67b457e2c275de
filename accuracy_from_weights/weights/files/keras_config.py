"""A Keras model's configuration, read as JSON and never made into code: layers and their order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from accuracy_from_weights.weights.order.keras_graph import Step

_FUNCTIONS = ("keras.ops", "keras.src.ops", "keras.src.activations")


@dataclass(frozen=True, eq=False, slots=True)
class LayerConfig:
    """One layer's class, its arguments, and the layers inside it; all empty where unknown.

    Attributes
    ----------
    layers : dict of str to LayerConfig
        Of a model: in the order of data flow, by the names under which Keras stores them.
    steps : tuple of Step
        Of a model: what feeds what.
    """

    class_name: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    layers: dict[str, LayerConfig] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def layer(self, name: str) -> LayerConfig:
        """Return the configuration of a layer inside, which is an argument of some layers."""
        inner = self.arguments.get(name)
        is_layer = isinstance(inner, Mapping) and isinstance(inner.get("class_name"), str)
        return self.layers.get(name) or layer_config(inner if is_layer else None)


def layer_config(node: Any) -> LayerConfig:
    """Read one serialised layer or model; what is unexpected in it is left out."""
    if not isinstance(node, Mapping):
        return LayerConfig()
    class_name, arguments = node.get("class_name"), node.get("config")
    if isinstance(arguments, list):  # Sequential in the oldest files
        arguments = {"layers": arguments}
    if not isinstance(arguments, Mapping):
        arguments = {}
    inside = arguments.get("layers")
    layers: dict[str, LayerConfig] = {}
    steps: list[Step] = []
    counts: dict[str, int] = {}
    for inner in inside if isinstance(inside, list) else ():
        if not isinstance(inner, Mapping):
            continue
        config, key = layer_config(inner), ""
        # Functions used as layers stand in the configuration, but not in the store.
        if not str(inner.get("module")).startswith(_FUNCTIONS):
            key = stored_name(config.class_name, counts)
            layers[key] = config
        steps.extend(_steps(inner, config, key, steps))
    name = class_name if isinstance(class_name, str) else ""
    return LayerConfig(name, arguments, layers, tuple(steps))


def named_configs(config: LayerConfig) -> Iterator[tuple[str, LayerConfig]]:
    """Yield all layers of a model, nested ones too, each behind its own name."""
    name = config.arguments.get("name")
    if isinstance(name, str):
        yield name, config
    for inner in config.layers.values():
        yield from named_configs(inner)


def _steps(
    node: Mapping[str, Any], config: LayerConfig, key: str, before: Sequence[Step]
) -> Iterator[Step]:
    """Yield each call of a layer; a sequential model calls a layer once, with the one before it."""
    name = str(config.arguments.get("name") or node.get("name"))
    activation = _activation(config.arguments)
    calls = node.get("inbound_nodes")
    sources = [tuple(_sources(call)) for call in calls] if isinstance(calls, list) else None
    for inputs in sources or [tuple(step.name for step in before[-1:]) if sources is None else ()]:
        yield Step(name, config.class_name, activation, inputs, config.steps, key or name)


def _activation(arguments: Mapping[str, Any]) -> str | None:
    activation = arguments.get("activation")
    if isinstance(activation, Mapping):  # a function or a layer, serialised
        inner = activation.get("config")
        activation = inner if isinstance(inner, str) else activation.get("class_name")
    if arguments.get("negative_slope"):
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


def stored_name(class_name: str, counts: dict[str, int]) -> str:
    """Return the name under which Keras stores the next layer of a class, and count it.

    It is ``conv2d`` for the first ``Conv2D``, then ``conv2d_1`` and so on.
    """
    name = re.sub(r"\W+", "", class_name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    n = counts[name] = counts.get(name, -1) + 1
    return f"{name}_{n}" if n else name
