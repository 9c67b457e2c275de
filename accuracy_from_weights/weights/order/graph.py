"""The graph of a network's computation: the order of its layers and what lies between them.

A live PyTorch module, a Keras model or its ``.keras`` file, and a ``.pt2`` file tell their graph;
a state dict does not.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from accuracy_from_weights.weights.found_layers import Normalisation
from accuracy_from_weights.weights.layers import Path
from accuracy_from_weights.weights.order.chaining import Block

Tensors: TypeAlias = Sequence[Hashable]
"""Names of tensors, as a graph's source spells them."""

RECTIFIER, ACTIVATION, PASS, LAYER, UNKNOWN = "rectifier", "activation", "pass", "layer", "unknown"

_NAMES = (
    (RECTIFIER, r"relu6?"),
    (
        ACTIVATION,
        r"(?:leaky|p|r|c|thresholded)relu|[sc]?elu|glu|gelu|silu|swish|hardswish|mish|"
        r"(?:log|hard)?sigmoid|(?:hard)?tanh|(?:soft|hard|tanh|sparse)(?:plus|sign|shrink|min)|"
        r"(?:log|sparse)?softmax2?d?|threshold|exponential|exp|sin|activation",
    ),
    (
        PASS,
        r"identity|(?:alpha|feature|featurealpha|spatial|gaussian)?dropout(?:[123]d)?|"
        r"gaussiannoise|(?:un)?flatten|view|reshape|permute|transpose|t|contiguous|(?:un)?squeeze|"
        r"clone|detach|float|to|movedim|(?:global|adaptive)*(?:max|avg|average|lp)pool(?:ing)?"
        r"(?:[123]d)?|mean|amax|upsampl\w*|interpolate|(?:channel|pixel)(?:un)?shuffle|"
        r"(?:zero|constant|reflection|replication|circular)?pad(?:ding)?(?:[123]d)?|"
        r"cropping[123]d|inputlayer",
    ),
)

_LAYER_FUNCTIONS = (
    *("linear", "conv1d", "conv2d", "conv3d", "matmul"),
    *("batch_norm", "layer_norm", "group_norm"),
)
"""What computes a layer from its parameters, by ATen's name."""


def operation_of(name: str) -> str:
    """Return what a function, method or class of PyTorch, ATen or Keras does, by its name.

    ``"pass"`` is what moves, drops or averages values, such as ``max_pool2d``.
    """
    folded = name.lower().replace("_", "")
    found = (operation for operation, names in _NAMES if re.fullmatch(names, folded))
    return next(found, UNKNOWN)


@dataclass(frozen=True, slots=True)
class Node:
    """One step of the computation.

    Attributes
    ----------
    inputs : tuple of int
        Numbers of the steps whose results it takes, all smaller than its own.
    operation : str
        ``"layer"``, or as `operation_of`; ``"pass"`` for the network's input.
    path : tuple of str or None
        Of the layer whose parameters it uses.
    """

    inputs: tuple[int, ...]
    operation: str
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """All steps, in the order in which they run."""

    nodes: tuple[Node, ...]

    @property
    def is_chain(self) -> bool:
        """Whether each step is known, takes the result of the one before, and nothing else."""
        used = self._used()
        steps = sorted(used)
        layers = [self.nodes[at].path for at in steps if self.nodes[at].operation == LAYER]
        return (
            len(layers) == len(set(layers))
            and all(self.nodes[at].operation != UNKNOWN for at in steps)
            and all(
                self.nodes[at].inputs == ((before,) if before is not None else ())
                for before, at in zip([None, *steps], steps, strict=False)
            )
        )

    def calls(self) -> dict[Path, list[int]]:
        """Return the numbers of the steps at which each layer runs."""
        calls: dict[Path, list[int]] = {}
        for at, node in enumerate(self.nodes):
            if node.path is not None:
                calls.setdefault(node.path, []).append(at)
        return calls

    def before(self, calls: Sequence[int]) -> str | None:
        """Return what lies between a layer, by its calls, and the layer or input that feeds it.

        None stands for a sum, a concatenation or an unknown function, or a layer that runs twice.
        """
        if len(calls) != 1:
            return None
        met = {PASS}
        at = calls[0]
        while self.nodes[at].inputs:
            if len(self.nodes[at].inputs) > 1:
                return None
            (at,) = self.nodes[at].inputs
            if self.nodes[at].operation == LAYER:
                break
            met.add(self.nodes[at].operation)
        if UNKNOWN in met:
            return None
        return next((kind for kind in (ACTIVATION, RECTIFIER) if kind in met), PASS)

    def _used(self) -> set[int]:
        """Return the steps that the last one depends on."""
        used: set[int] = set()
        waiting = [len(self.nodes) - 1] if self.nodes else []
        while waiting:
            at = waiting.pop()
            if at not in used:
                used.add(at)
                waiting.extend(self.nodes[at].inputs)
        return used


@dataclass(slots=True)
class GraphBuilder:
    """A graph in the making, of calls that name the tensors which they take and give.

    Attributes
    ----------
    owners : dict of hashable to tuple of str
        By the name of a tensor made of parameters only, the layer that holds them.
    makers : dict of hashable to int
        By the name of any other tensor, the number of the step that gives it.
    """

    owners: dict[Hashable, Path] = field(default_factory=dict)
    makers: dict[Hashable, int] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def add(
        self, operation: str, taken: Tensors = (), given: Tensors = (), path: Path | None = None
    ) -> None:
        """Add a step, which `Node` describes."""
        inputs = tuple(self.makers[name] for name in taken if name in self.makers)
        self.makers.update(dict.fromkeys(given, len(self.nodes)))
        self.nodes.append(Node(inputs, operation, path))

    def add_function(self, name: str, taken: Tensors, given: Tensors) -> None:
        """Add the call of a function, unless it takes parameters or constants only."""
        owner = next((self.owners[tensor] for tensor in taken if tensor in self.owners), None)
        if any(tensor in self.makers for tensor in taken):
            of_layer = LAYER if name in _LAYER_FUNCTIONS else UNKNOWN
            self.add(operation_of(name) if owner is None else of_layer, taken, given, owner)
        elif owner is not None:
            self.owners.update(dict.fromkeys(given, owner))

    def graph_to(self, results: Tensors) -> Graph:
        """Return the graph of everything added, which ends in these tensors."""
        known = [name for name in results if name in self.makers]
        self.add(PASS if len(known) == 1 else UNKNOWN, known)
        return Graph(tuple(self.nodes))


def with_graph(blocks: Sequence[Block], graph: Graph) -> list[Block]:
    """Put blocks in the order in which a graph runs them, and say what lies before each.

    A block that the graph does not run stays behind the one that it was given after.
    """
    calls = graph.calls()
    places: list[tuple[int, int]] = []
    for number, block in enumerate(blocks):
        # What runs may be a layer around the block: PyTorch's own transformer layers are one step.
        inside = (block.path[:n] for n in range(len(block.path), 0, -1) if block.path[:n] in calls)
        around = block.path if block.path in calls else next(inside, None)
        place = calls[around][0] if around is not None else places[-1][0] if places else -1
        places.append((place, number))
    is_chain = graph.is_chain
    ordered = [blocks[number] for _, number in sorted(places)]
    return [
        with_before(block, graph.before(calls.get(block.path, ())), is_chain) for block in ordered
    ]


def with_before(block: Block, before: str | None, is_chain: bool = False) -> Block:
    """Return a block whose normalisations, or in a chain all parts, know what lies before them."""
    parts = tuple(
        replace(part, before=before if number == 0 else PASS)
        if is_chain or isinstance(part, Normalisation)
        else part
        for number, part in enumerate(block.parts)
    )
    return Block(block.path, parts)
