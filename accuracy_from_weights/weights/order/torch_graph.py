"""The graph of a live PyTorch module, found by calling a twin of it on symbols.

`torch.fx.symbolic_trace` would do, but it replaces ``nn.Module.__call__`` for the whole process
while it runs, and it calls the user's own module. The twin shares no parameter, buffer, hook or
list with the module, so a training run in another thread goes on undisturbed.
"""

from __future__ import annotations

import copy
import inspect
import operator
import random
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from accuracy_from_weights.weights.layers import Path
from accuracy_from_weights.weights.order.graph import (
    ACTIVATION,
    LAYER,
    PASS,
    UNKNOWN,
    Graph,
    GraphBuilder,
    operation_of,
)

_LAYERS = (
    nn.Linear,
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
)
_OF_SHAPES = ("size", "dim", "ndimension", "numel", "shape", "device", "dtype", "ndim")

_traced: weakref.WeakKeyDictionary[nn.Module, tuple[object, Graph | None]]
_traced = weakref.WeakKeyDictionary()


def graph_of_module(module: nn.Module) -> Graph | None:
    """Return the graph of a module's ``forward``, or None where symbols cannot pass through it.

    Neither the module nor a random state is changed. A module of the same structure is traced
    once.
    """
    structure = [(name, type(part)) for name, part in module.named_modules()]
    known = _traced.get(module)
    if known is None or known[0] != structure:
        known = structure, _trace(module)
        _traced[module] = known
    return known[1]


def _trace(module: nn.Module) -> Graph | None:
    parts = list(module.modules())
    if any(isinstance(p, torch.jit.ScriptModule) or "forward" in vars(p) for p in parts):
        return None  # what has been put in place of `forward` belongs to the module, not the twin
    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    try:
        with _kept_random_states():
            twin = _twin(module, tracer)
            answer = twin(*_arguments(module, graph, tracer))
            return _neutral(graph, tracer.create_arg(answer))
    except Exception:  # noqa: BLE001  # any code of the user's may refuse symbols in any way
        return None


def _arguments(module: nn.Module, graph: fx.Graph, tracer: Any) -> list[fx.Proxy]:
    needed = [
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return [fx.Proxy(graph.placeholder(name), tracer) for name in needed or ["x"]]


def _twin(module: nn.Module, tracer: Any) -> Any:
    """Return a copy of a module in which tensors are symbols and PyTorch's own layers record."""
    twins: dict[int, Any] = {}
    for name, part in module.named_modules():
        twins[id(part)] = twin = object.__new__(type(part))
        path = tuple(name.split(".")) if name else ()
        state = {key: _unshared(value) for key, value in vars(part).items()}
        for kind in ("_parameters", "_buffers"):
            state[kind] = {
                key: None
                if tensor is None
                else tracer.create_proxy("get_attr", ".".join((*path, key)), (), {})
                for key, tensor in state[kind].items()
            }
        state.update({key: type(value)() for key, value in state.items() if "_hooks" in key})
        state.update({"training": False, "_trainer": None})
        if type(part).forward.__module__.startswith("torch.") and not isinstance(
            part, nn.Sequential | nn.ModuleList | nn.ModuleDict
        ):
            state["forward"] = _recorder(part, path, tracer)
        vars(twin).update(state)
    for part in module.modules():
        state = vars(twins[id(part)])
        for key, value in state.items():
            if isinstance(value, list | tuple) and type(value) in (list, tuple):
                state[key] = type(value)(twins.get(id(item), item) for item in value)
            elif isinstance(value, dict):
                value.update({k: twins.get(id(item), item) for k, item in value.items()})
    return twins[id(module)]


def _unshared(value: Any) -> Any:
    return copy.copy(value) if isinstance(value, list | dict | set) else value


def _recorder(part: nn.Module, path: Path, tracer: Any) -> Any:
    if isinstance(part, _LAYERS):
        operation = LAYER
    elif isinstance(part, nn.PReLU):
        operation = ACTIVATION
    elif any(True for _ in part.parameters()):
        operation = UNKNOWN
    else:
        operation = operation_of(type(part).__name__)

    def record(*args: Any, **kwargs: Any) -> Any:
        return tracer.create_proxy("call_module", f"{operation} {'.'.join(path)}", args, kwargs)

    return record


def _neutral(graph: fx.Graph, answer: Any) -> Graph:
    """Return a recorded graph in the terms of every framework."""
    builder = GraphBuilder()
    for node in graph.nodes:
        taken = node.all_input_nodes
        if node.op == "placeholder":
            builder.add(PASS, given=[node])
        elif node.op == "get_attr":
            builder.owners[node] = tuple(str(node.target).split(".")[:-1])
        elif node.op == "call_module":
            operation, _, name = str(node.target).partition(" ")
            builder.add(operation, taken, [node], tuple(name.split(".")) if name else ())
        elif not _is_of_shapes(node) or taken[0] in builder.owners:
            name = getattr(node.target, "__name__", str(node.target))
            builder.add_function(name, taken, [node])
    results: list[fx.Node] = []
    fx.node.map_arg(answer, results.append)
    return builder.graph_to(results)


def _is_of_shapes(node: fx.Node) -> bool:
    if node.target in (getattr, operator.getitem) and node.args[1:2]:
        return node.args[1] in _OF_SHAPES
    return node.target in _OF_SHAPES


@contextmanager
def _kept_random_states() -> Iterator[None]:
    """Put random states back, which a ``forward`` that draws noise would move."""
    numpy = sys.modules.get("numpy")
    own, of_torch = random.getstate(), torch.get_rng_state()
    of_numpy = numpy.random.get_state() if numpy is not None else None
    try:
        yield
    finally:
        random.setstate(own)
        torch.set_rng_state(of_torch)
        if numpy is not None:
            numpy.random.set_state(of_numpy)
