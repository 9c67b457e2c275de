"""The order of layers where a file stores none: worked out from names and from shapes.

Flax's parameters and the groups of a ``.weights.h5`` file come sorted by name, which puts
``batch_normalization`` before ``conv2d`` and ``conv2d_10`` before ``conv2d_2``. Within one family
of names the counters give the order. Families are merged by chaining: what comes next takes in as
many channels as the layer before gives out (a dense layer after a convolution may take a multiple,
since flattening multiplies), and a normalisation follows a kernel of its width.

Where several merges chain, the one chosen need not be the network's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from accuracy_from_weights.weights.keras_names import KerasGroup, class_from_name

_RANKS = ("embedding", "conv", "recurrent", "attention", "dense")
"""Of layers that chain equally well, the earlier kind comes first."""


@dataclass(frozen=True, eq=False, slots=True)
class _Unit:
    """One layer, or one composite layer or nested model in its own order."""

    groups: tuple[KerasGroup, ...]
    name: str
    kind: str
    n_in: int | None
    n_out: int | None

    @property
    def is_normalisation(self) -> bool:
        return self.kind == "normalisation"


def in_order_of_flow(groups: Sequence[KerasGroup]) -> list[KerasGroup]:
    """Sort groups by data flow, as far as names and shapes tell.

    Groups that come in any order but the alphabet's are returned as they are: somebody has
    already put them in order.

    Parameters
    ----------
    groups : sequence of KerasGroup
    """
    paths = [group.path for group in groups]
    if len(groups) < 2 or paths != sorted(paths):
        return list(groups)
    return _ordered(groups, 0)


def _ordered(groups: Sequence[KerasGroup], depth: int) -> list[KerasGroup]:
    members: dict[str, list[KerasGroup]] = {}
    own: list[KerasGroup] = []
    for group in groups:
        if len(group.path) <= depth:
            own.append(group)
        else:
            members.setdefault(group.path[depth], []).append(group)
    units = []
    for name, inside in members.items():
        inner = _ordered(inside, depth + 1) if len(inside) > 1 else inside
        units.append(_unit(name, inner))
    return own + [group for unit in _merged(units) for group in unit.groups]


def _unit(name: str, groups: Sequence[KerasGroup]) -> _Unit:
    ends = [_ends(group) for group in groups]
    kernels = [end for end in ends if end[0] != "normalisation"]
    kind, n_in, _ = (kernels or ends)[0]
    n_out = (kernels or ends)[-1][2]
    leaves = {group.path[-1].strip("_").partition("_")[0] for group in groups if group.path}
    if {"query", "key", "value"} <= leaves:
        kind, n_out = "attention", n_in
    elif {"forward", "backward"} <= {p.partition("_")[0] for g in groups for p in g.path}:
        n_out = sum(end[2] or 0 for end in ends)
    return _Unit(tuple(groups), name, kind, n_in, n_out)


def _ends(group: KerasGroup) -> tuple[str, int | None, int | None]:
    """Kind, channels in, channels out."""
    variables = group.variables
    folded = class_from_name(group.class_name or (group.path[-1] if group.path else ""))
    for word in ("embeddings", "embedding", "position_embeddings"):
        if word in variables:
            return "embedding", None, variables[word].shape[-1]
    kernel = variables.get("kernel", variables.get("depthwise_kernel"))
    if kernel is None or kernel.ndim < 2:
        return "normalisation", None, max((a.size for a in variables.values()), default=None)
    n_in, n_out = kernel.shape[-2:]
    if "recurrent_kernel" in variables:
        return "recurrent", n_in, variables["recurrent_kernel"].shape[-2]
    if "pointwise_kernel" in variables:
        return "conv", n_in, variables["pointwise_kernel"].shape[-1]
    if "depthwise_kernel" in variables or folded.startswith("depthwiseconv"):
        return "conv", n_in, n_in * n_out
    if "transpose" in folded and folded != "convtranspose":
        return "conv", n_out, n_in
    if kernel.ndim == 2:
        return "dense", n_in, n_out
    bias = variables.get("bias")
    if bias is not None and bias.ndim > 1:
        return "attention", kernel.shape[0], bias.size
    return "conv", n_in, n_out


def _merged(units: Sequence[_Unit]) -> list[_Unit]:
    """Merge families of names, each in the order of its counters, by chaining shapes."""
    families: dict[str, list[_Unit]] = {}
    for unit in units:
        families.setdefault(class_from_name(unit.name), []).append(unit)
    queues = [sorted(family, key=lambda unit: _counter(unit.name)) for family in families.values()]
    ordered: list[_Unit] = []
    channels: int | None = None
    kind = ""
    while queues:
        queue = min(queues, key=lambda q: _cost(q[0], channels, kind, ordered))
        unit = queue.pop(0)
        queues = [q for q in queues if q]
        ordered.append(unit)
        if not unit.is_normalisation:
            channels, kind = unit.n_out, unit.kind
    return ordered


def _counter(name: str) -> tuple[int, str]:
    match = re.search(r"_?(\d+)$", name)
    return (int(match[1]) if match else 0), name


def _cost(unit: _Unit, channels: int | None, kind: str, before: Sequence[_Unit]) -> tuple[int, int]:
    """How badly a unit fits next; the smaller the better."""
    if unit.is_normalisation:
        is_free = bool(before) and not before[-1].is_normalisation
        return (0 if is_free and unit.n_out == channels else 4), 0
    rank = _RANKS.index(unit.kind)
    if channels is None or unit.n_in is None:
        return (1 if not before or unit.kind == kind else 2), rank
    if unit.n_in == channels:
        return 1, rank
    was_spatial = kind in ("conv", "recurrent", "embedding", "attention")
    if unit.kind == "dense" and was_spatial and unit.n_in % channels == 0:
        return 2, rank
    return 3, rank
