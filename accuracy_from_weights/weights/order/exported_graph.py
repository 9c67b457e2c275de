"""The graph of an exported program, from the JSON file in a ``.pt2`` archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from accuracy_from_weights.weights.order.graph import (
    LAYER,
    PASS,
    UNKNOWN,
    Graph,
    Node,
    Path,
    operation_of,
)

_LAYERS = ("linear", "conv1d", "conv2d", "conv3d", "batch_norm", "layer_norm", "group_norm")


def graph_of_program(program: Any) -> Graph | None:
    """Return the graph of an exported program, or None where it is of another form.

    Parameters
    ----------
    program : mapping
        The content of ``models/model.json``, as `torch._export.serde.schema` describes it.
    """
    try:
        module = program["graph_module"]
        owners = dict(_parameters(module["signature"]["input_specs"]))
        last = module["signature"]["output_specs"]
        return _graph(module["graph"]["nodes"], owners, [*_tensors(last)])
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, RecursionError):
        return None


def _graph(calls: list[Any], owners: dict[str, Path], results: list[str]) -> Graph:
    nodes: list[Node] = []
    made: dict[str, int] = {}  # by the name of a tensor, the step that gives it
    for call in calls:
        taken = list(dict.fromkeys(_tensors(call["inputs"])))
        owner = next((owners[name] for name in taken if name in owners), None)
        for name in taken:
            if name not in owners and name not in made:  # an input of the program
                made[name] = len(nodes)
                nodes.append(Node((), PASS))
        inputs = tuple(made[name] for name in taken if name in made)
        given = list(_tensors(call["outputs"]))
        if not inputs and owner is not None:  # made of parameters only
            owners.update(dict.fromkeys(given, owner))
            continue
        parts = str(call["target"]).split(".")
        name = parts[3] if parts[:3] == ["torch", "ops", "aten"] and len(parts) > 3 else ""
        operation = operation_of(name) if owner is None else UNKNOWN
        if owner is not None and name in _LAYERS:
            operation = LAYER
        made.update(dict.fromkeys(given, len(nodes)))
        nodes.append(Node(inputs, operation, owner))
    ends = tuple(made[name] for name in results if name in made)
    return Graph((*nodes, Node(ends, PASS if len(ends) == 1 else UNKNOWN)))


def _parameters(specs: list[Any]) -> Iterator[tuple[str, Path]]:
    for spec in specs:
        for kind in ("parameter", "buffer"):
            if kind in spec:
                name = str(spec[kind][f"{kind}_name"])
                yield str(spec[kind]["arg"]["name"]), tuple(name.split(".")[:-1])


def _tensors(value: Any) -> Iterator[str]:
    """Return the names of all tensors in serialised arguments."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "as_tensor":
                yield str(inner["name"])
            elif key == "as_tensors":
                yield from (str(one["name"]) for one in inner)
            else:
                yield from _tensors(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _tensors(inner)
