"""The order of layers, worked out from names and from shapes.

Flax's parameters, ``.safetensors`` files and Keras's subclassed models come sorted by name, which
puts ``batch_normalization`` before ``conv2d``, ``bn1`` before ``conv1`` and ``conv2d_10`` before
``conv2d_2``. A module may register its layers in another order than it runs them. Composite layers
and blocks are put in order inside first, and then chained as one. Within one family of names the
counters give the order. Lists of equal length beside each other are run in turns, where that chains
better. Where several orders chain, the one chosen need not be the network's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from accuracy_from_weights.weights.layers import Path
from accuracy_from_weights.weights.order.chaining import (
    Block,
    Unit,
    backtracked,
    final_norms,
    merged_families,
    ordering_faults,
    unit_of,
)

_PLACES = 20
"""So many places among other layers are tried for lists that run in turns."""


def in_order_of_flow(
    blocks: Sequence[Block], order_is_given: bool = False, known: Collection[Path] = ()
) -> list[Block]:
    """Sort layers by data flow, as far as names and shapes tell.

    An order that is given may be the data's: it stays, level by level, unless another one chains
    better or agrees better with the counters in the names. Known are the models and layers whose
    parts are in order already.
    """
    given = None if order_is_given else {*known}
    return _ordered([block for block in blocks if block.parts], 0, False, given)


def is_sorted_by_name(paths: Sequence[Path]) -> bool:
    """Return whether the order is alphabetical, so that nobody has put the layers in order."""
    return len(paths) > 1 and list(paths) == sorted(paths)


def _ordered(
    blocks: Sequence[Block], depth: int, is_pre_norm: bool, known: set[Path] | None
) -> list[Block]:
    """Sort one level and those inside it; `known` is None where the order may be the data's."""
    members: dict[str, list[Block]] = {}
    places: dict[str, int] = {}
    own: list[tuple[int, Unit]] = []
    for place, block in enumerate(blocks):
        if len(block.path) <= depth:
            own.append((place, unit_of("", [block])))
        else:
            members.setdefault(block.path[depth], []).append(block)
            places.setdefault(block.path[depth], place)
    is_pre = is_pre_norm or bool(final_norms([unit_of(*item) for item in members.items()]))

    def unit(name: str, inside: Sequence[Block], inner_depth: int) -> Unit:
        if len(inside) > 1:
            inside = _ordered(inside, inner_depth, is_pre, known)
        return unit_of(name, inside)

    lists = _side_by_side(members, depth)
    placed: list[tuple[int, Unit]] = []
    rows: list[list[Unit]] = [[] for _ in next(iter(lists.values()), {})]
    for name, inside in members.items():
        items = [unit(name, inside, depth + 1)] if name not in lists else []
        for row, (i, item) in zip(rows, lists.get(name, {}).items(), strict=False):
            items.append(unit(f"{name}.{i}", item, depth + 2))
            row.append(items[-1])
        placed += [(places[name], item) for item in items]
    units = [item for _, item in placed]
    first = [item for _, item in own]
    given = [item for _, item in sorted([*own, *placed], key=lambda pair: pair[0])]
    if known and blocks[0].path[:depth] in known:
        return [block for item in first + units for block in item.blocks]
    candidates = [given] if known is None else []
    candidates.append(first + merged_families(units, is_pre_norm))
    if rows:
        listed = {id(item) for row in rows for item in row}
        others = [item for item in units if id(item) not in listed]
        in_turns = [[item for row in rows for item in merged_families(row, is_pre_norm)]]
        if known is None:
            in_turns.insert(0, [item for row in rows for item in row])
        # A head is often registered before the lists that run before it, and a stem before both.
        candidates += [
            first + others[:k] + turns + others[k:]
            for turns in in_turns
            for k in (*range(1, len(others) + 1), 0)[:_PLACES]
        ]
    best = min(candidates, key=ordering_faults)
    if ordering_faults(best)[0]:
        best = min([best, first + backtracked(units)], key=ordering_faults)
    return [block for item in best for block in item.blocks]


def _side_by_side(
    members: Mapping[str, Sequence[Block]], depth: int
) -> dict[str, dict[int, list[Block]]]:
    """Return the items, by number, of lists of equal length beside each other, if there are two.

    Such lists hold patch embeddings and stages, for example.
    """
    lists: dict[str, dict[int, list[Block]]] = {}
    for name, inside in members.items():
        items: dict[str, list[Block]] = {}
        for block in inside:
            items.setdefault("".join(block.path[depth + 1 : depth + 2]), []).append(block)
        if len(items) > 1 and all(number.isdigit() for number in items):
            lists[name] = {int(number): items[number] for number in sorted(items, key=int)}
    lengths = [len(items) for items in lists.values()]
    usual = next((n for n in lengths if lengths.count(n) > 1), 0)
    return {name: items for name, items in lists.items() if len(items) == usual}
