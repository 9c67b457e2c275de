"""The graph of a Keras model, from the layers of the live model or of its configuration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from accuracy_from_weights.weights.layers import Path
from accuracy_from_weights.weights.order.graph import (
    ACTIVATION,
    LAYER,
    PASS,
    RECTIFIER,
    UNKNOWN,
    Graph,
    Node,
    operation_of,
)

_LAYERS = re.compile(
    r"dense|(?:depthwise|separable)?conv[123]d|conv[123]dtranspose|"
    r"(?:batch|layer|group|rms)normalization"
)
_JOINING = ("add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate", "dot")
_ON_INPUTS = re.compile(r"rescaling|normalization|random\w+|resizing|centercrop|masking")


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a layer.

    Attributes
    ----------
    name : str
    class_name : str
    activation : str or None
        Name of the function that the layer ends with.
    inputs : tuple of str
        Names of the layers that feed it.
    inside : sequence of Step
        Of a model that is used as a layer.
    key : str
        Under which Keras stores the layer in a file; its name where there is none.
    """

    name: str
    class_name: str
    activation: str | None = None
    inputs: tuple[str, ...] = ()
    inside: Sequence[Step] = ()
    key: str = ""


def graph_of_steps(steps: Sequence[Step], has_keys: bool = False) -> Graph:
    """Return the graph of a model's layers, each listed behind those that feed it.

    Paths consist of the layers' names, or of the keys that Keras 3's files use.
    """
    nodes: list[Node] = []
    _add(nodes, steps, (), (), has_keys)
    return Graph(tuple(nodes))


def _add(
    nodes: list[Node],
    steps: Sequence[Step],
    place: Path,
    outer: tuple[int, ...],
    has_keys: bool,
) -> int:
    """Append the nodes of one model, fed by others, and return the number of its last."""
    last: dict[str, int] = {}
    for step in steps:
        inputs = tuple(last[name] for name in step.inputs if name in last)
        path = (*place, step.key if has_keys else step.name)
        if step.inside and len(inputs) == len(step.inputs) <= 1:
            last[step.name] = _add(nodes, step.inside, path, inputs or outer, has_keys)
            continue
        operation = _operation(step)
        if len(inputs) < len(step.inputs) or step.name in last:
            operation = UNKNOWN
        nodes.append(Node(inputs if step.inputs else outer, operation, path))
        if step.activation not in (None, "linear") and operation == LAYER:
            ends = operation_of(step.activation or "")
            kind = RECTIFIER if ends == RECTIFIER else ACTIVATION
            nodes.append(Node((len(nodes) - 1,), kind))
        last[step.name] = len(nodes) - 1
    return len(nodes) - 1


def _operation(step: Step) -> str:
    name = step.class_name.replace("_", "").lower()
    if _LAYERS.fullmatch(name):
        return LAYER
    if name == "activation" and step.activation is not None:
        if step.activation == "linear":
            return PASS
        return RECTIFIER if operation_of(step.activation) == RECTIFIER else ACTIVATION
    if name == "relu" and step.activation is not None:
        return operation_of(step.activation)
    return PASS if _ON_INPUTS.fullmatch(name) else operation_of(name)


def before_by_names(names: Sequence[str]) -> dict[str, str]:
    """Return what lies before each batch normalisation of a model, where layers' names tell.

    Keras stores layers without weights too, named by their classes. Where none of a model's layers
    is an activation, activations are taken to be part of the layers, as in
    ``Conv2D(..., activation="relu")``.
    """
    classes = [re.sub(r"_\d+$", "", name) for name in names]
    kinds = [_operation(Step(class_name, class_name)) for class_name in classes]
    norms = [at for at, name in enumerate(classes) if name == "batch_normalization"]
    is_activated = [kind in (RECTIFIER, ACTIVATION) for kind in kinds]
    if {*classes} & {*_JOINING}:
        return {}
    if not any(is_activated):
        return {names[at]: ACTIVATION for at in norms}
    told: dict[str, str] = {}
    for at in norms:
        behind, ahead = (
            next((is_activated[k] for k in steps if kinds[k] != PASS), False)
            for steps in (range(at - 1, -1, -1), range(at + 1, len(kinds)))
        )
        if behind != ahead:
            told[names[at]] = ACTIVATION if behind else PASS
    return told
