"""Units of a network, layers or whole blocks, and how well each follows from those before.

What comes next takes in as many channels as the unit before gives out (a dense layer after a
convolution may take a multiple, since flattening multiplies), and a normalisation follows a kernel
of its width. A convolution that takes in what an earlier one took and gives out what the last one
gives is taken for its shortcut. Of units that chain equally well, names decide.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from accuracy_from_weights.weights.found_layers import Kernel, Normalisation, Part
from accuracy_from_weights.weights.layers import Path

_RANKS = ("embedding", "conv", "depthwise_conv", "transposed_conv", "recurrent", "attention")
"""Of layers that chain equally well, the earlier kind comes first; dense ones are the last."""


_NAME_RANKS = (
    r"stem|inputs?|inc|patch_embed\w*|(?:.*_)?(?:token|word|tok)s?(?:_emb\w*)?|wte|embed_tokens",
    r"(?:.*_)?pos(?:ition|itional)?(?:_emb\w*)?|wpe|embed_positions",
    r"embeddings?|embed|q_proj|query|to_q|self|self_attn|gate_proj|encoder|down",
    r"k_proj|key|to_k|multihead_attn|cross_attn|up_proj|bottleneck|middle|mid",
    r"v_proj|value|to_v|down_proj|decoder",
    r".*",
    r"(?:o|out)_proj|to_out|output|out|proj",
    r"heads?|lm_head|classifier|logits|outc|fc_out|predictions?",
)
"""How people name what comes first and what comes last; decides between what chains equally."""

_NO_CHAIN = 6

_MAX_SEARCHED = 64
"""Layers beside each other of which every order is tried, at most."""
_MAX_STEPS = 2000

_PICTURE = 4
"""Channels of a picture, at most."""

_NO_RANK = _NAME_RANKS.index(r".*")


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """The parts of one layer, under its name."""

    path: Path
    parts: tuple[Part, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Unit:
    """One layer, or a composite layer, block or model that is in order inside."""

    name: str
    blocks: tuple[Block, ...]
    rank: int
    n_in: int | None
    n_out: int | None
    is_normalisation: bool

    @property
    def is_leaf(self) -> bool:
        """Whether it is one layer with a kernel, with nothing around it; embeddings aside."""
        is_single = len(self.blocks) == 1 and self.blocks[0].path[-1:] == (self.name,)
        return is_single and self.rank > 0 and not self.is_normalisation

    @property
    def name_rank(self) -> int:
        """How early, by its name, people mean it to come."""
        name = family(self.name).lower()
        found = (i for i, names in enumerate(_NAME_RANKS) if re.fullmatch(names, name))
        return next((i for i in found if i != _NO_RANK), _NO_RANK)

    @property
    def is_depthwise(self) -> bool:
        """Whether it is known, or called, a depthwise convolution."""
        is_named = re.search(r"dw|depthwise", self.name, re.IGNORECASE) is not None
        return self.rank == _RANKS.index("depthwise_conv") or (self.is_convolution and is_named)

    @property
    def is_convolution(self) -> bool:
        """Whether its first kernel is that of a convolution of any kind."""
        return 1 <= self.rank <= 3


@dataclass(frozen=True, slots=True)
class Level:
    """What is known of all units beside each other.

    Attributes
    ----------
    produced : set of int or None
        Widths that kernels give out.
    owners : dict of str to str
        By the name of a normalisation, the kernel whose name it begins with: ``conv1_bn``.
    """

    produced: set[int | None]
    owners: dict[str, str]

    @classmethod
    def of(cls, units: Sequence[Unit]) -> Level:
        """Return what is known of these units."""
        kernels = {unit.name: unit for unit in units if not unit.is_normalisation}
        owners: dict[str, str] = {}
        for norm in units:
            if norm.is_normalisation:
                for end in range(1, len(norm.name)):
                    kernel = kernels.get(norm.name[:end])
                    is_whole = not norm.name[end].isdigit()
                    if kernel is not None and is_whole and kernel.n_out == norm.n_out:
                        owners[norm.name] = kernel.name
        return cls({kernel.n_out for kernel in kernels.values()}, owners)


def family(name: str) -> str:
    """Drop the counter at a name's end: ``conv2d_1`` -> ``conv2d``, ``fc2`` -> ``fc``."""
    return re.sub(r"[._]?\d+$", "", name)


def counter(name: str) -> tuple[int, str]:
    """Sort key of the names of one family: the number at the end, 0 where there is none."""
    match = re.search(r"[._]?(\d+)$", name)
    return (int(match[1]) if match else 0), name


def parts_of_blocks(blocks: Iterable[Block]) -> list[Part]:
    """Return the parts of all blocks, in order."""
    return [part for block in blocks for part in block.parts]


def n_steps_down(names: Iterable[str]) -> int:
    """Count where a family of names has a smaller counter than the one before."""
    numbers: dict[str, list[int]] = {}
    for name in names:
        numbers.setdefault(family(name), []).append(counter(name)[0])
    return sum(a > b for found in numbers.values() for a, b in itertools.pairwise(found))


def ordering_faults(units: Sequence[Unit]) -> tuple[int, int, int]:
    """Count what is wrong with an order: units that do not follow, side steps, counters' steps."""
    level = Level.of(units)
    following: list[Unit | None] = []
    for unit in reversed(units):
        behind = following[-1] if following else None
        following.append(behind if unit.is_normalisation else unit)
    following.reverse()
    misfits = side_steps = 0
    last: Unit | None = None
    before: list[Unit] = []
    for unit, behind in zip(units, following, strict=True):
        if unit.is_normalisation:
            fits = last is not None and before[-1] is last and unit.n_out == last.n_out
            misfits += not fits and (behind is None or behind.n_in != unit.n_out)
            side_steps += last is not None and level.owners.get(unit.name, last.name) != last.name
        else:
            misfits += _misfit(unit, last, before, level) >= _NO_CHAIN
            side_steps += last is not None and unit.n_in is not None and unit.n_in != last.n_out
            last = unit
        before.append(unit)
    return misfits, side_steps, n_steps_down(unit.name for unit in units)


def backtracked(units: Sequence[Unit]) -> list[Unit]:
    """Return an order in which every unit follows from the one before, if one is found soon.

    Where several chain equally well, the order given is preferred.
    """
    level = Level.of(units)
    n_left = _MAX_STEPS

    def extended(ordered: list[Unit], rest: list[Unit]) -> list[Unit] | None:
        nonlocal n_left
        if not rest:
            return ordered
        last = next((unit for unit in reversed(ordered) if not unit.is_normalisation), None)
        costs = [_cost(unit, last, ordered, level) for unit in rest]
        for at in sorted(range(len(rest)), key=costs.__getitem__):
            n_left -= 1
            if costs[at][0] >= _NO_CHAIN or n_left < 0:
                break
            found = extended([*ordered, rest[at]], rest[:at] + rest[at + 1 :])
            if found is not None:
                return found
        return None

    if len(units) > _MAX_SEARCHED:
        return list(units)
    return extended([], list(units)) or list(units)


def final_norms(units: Sequence[Unit]) -> list[Unit]:
    """Normalisations beside blocks that no single layer beside them feeds.

    Pre-norm transformers and pre-activation ResNets need one after the last block. The one of
    a post-norm network's stem, on the other hand, has a convolution of its width beside it.
    """
    if not any(len(unit.blocks) > 1 for unit in units):
        return []
    fed = {unit.n_out for unit in units if unit.is_leaf}
    return [unit for unit in units if unit.is_normalisation and unit.n_out not in fed]


def unit_of(name: str, blocks: Sequence[Block]) -> Unit:
    """Return a unit that consists of blocks which are in order."""
    parts = parts_of_blocks(blocks)
    kernels = [part for part in parts if isinstance(part, Kernel)]
    if not kernels:
        width = max((p.n_channels for p in parts if isinstance(p, Normalisation)), default=None)
        return Unit(name, tuple(blocks), len(_RANKS), width, width, True)
    first, last = kernels[0], kernels[-1]
    rank = _RANKS.index(first.kind) if first.kind in _RANKS else len(_RANKS)
    n_in: int | None = first.kernel.shape[1]
    if first.kind == "embedding" or (n_in == 1 and first.kernel.ndim > 2):
        n_in = None  # takes indices; or is depthwise, or sees a single channel
    if first.kind == "depthwise_conv" and first is not last:
        n_in = first.kernel.shape[0]  # of a separable convolution, with one kernel a channel
    n_out = last.kernel.shape[0]
    if last.kind == "recurrent":
        directions = sum(part.name.endswith(".state") for part in kernels)
        n_out = last.kernel.shape[1] * max(directions, 1)
    elif last.kind == "attention" and last.name.endswith(("query", "key", "value")):
        n_out = last.kernel.shape[1]  # the output's projection is a layer of its own
    return Unit(name, tuple(blocks), rank, n_in, n_out, False)


def merged_families(units: Sequence[Unit], is_pre_norm: bool) -> list[Unit]:
    """Merge families of names, each in the order of its counters, by chaining shapes."""
    families: dict[str, list[Unit]] = {}
    for unit in units:
        families.setdefault(family(unit.name), []).append(unit)
    queues = [sorted(members, key=lambda unit: counter(unit.name)) for members in families.values()]
    level = Level.of(units)
    waiting = set() if is_pre_norm else {id(unit) for unit in final_norms(units)}
    ordered: list[Unit] = []
    last: Unit | None = None  # the last unit with a kernel
    n_composite = sum(len(unit.blocks) > 1 for unit in units)
    while queues:
        heads = [queue[0] for queue in queues]
        if n_composite == 0:
            waiting.clear()
        # What embeddings are added up to is normalised, not each of them.
        is_adding = last is not None and last.rank == 0 and any(head.rank == 0 for head in heads)
        costs = [
            (9, 0, 0, 0)
            if id(head) in waiting or (is_adding and head.is_normalisation)
            else _cost(head, last, ordered, level)
            for head in heads
        ]
        best = costs.index(min(costs))
        if not ordered:
            best = _norm_before(heads, best, is_pre_norm)
        unit = queues[best].pop(0)
        n_composite -= len(unit.blocks) > 1
        queues = [queue for queue in queues if queue]
        ordered.append(unit)
        if not unit.is_normalisation:
            last = unit
    return ordered


def _norm_before(heads: Sequence[Unit], best: int, is_pre_norm: bool) -> int:
    """Return whether a block begins with a normalisation of its first kernel's inputs only."""
    kernel = heads[best]
    for i, head in enumerate(heads):
        fits = head.is_normalisation and head.n_out == kernel.n_in
        if fits and (is_pre_norm or kernel.n_in != kernel.n_out):
            return i
    return best


def _cost(
    unit: Unit, last: Unit | None, ordered: Sequence[Unit], level: Level
) -> tuple[int, int, int, int]:
    """Return how badly a unit fits next; the smaller the better."""
    misfit = _misfit(unit, last, ordered, level)
    # Where nothing chains (after a concatenation), counters go on across families.
    number = counter(unit.name)[0] if misfit >= _NO_CHAIN else 0
    return misfit, unit.name_rank, number, unit.rank


def _misfit(unit: Unit, last: Unit | None, ordered: Sequence[Unit], level: Level) -> int:
    if unit.is_normalisation:
        fits = last is not None and ordered[-1] is last and unit.n_out == last.n_out
        if fits and last is not None and level.owners.get(unit.name, last.name) != last.name:
            return 5
        return 0 if fits else _NO_CHAIN + 1
    if last is None and unit.is_depthwise:
        return 3
    if last is None or last.n_out is None:
        is_first = unit.rank <= 1 if unit.n_in is None else unit.n_in not in level.produced
        return 1 if is_first else 2
    if unit.is_convolution and last.rank == len(_RANKS):
        if unit.n_in is None:
            return 1 if unit.is_depthwise and unit.n_out == last.n_out else _NO_CHAIN
        # A generator's features, made into an image: of more channels than a picture has.
        is_image = unit.n_in > _PICTURE and last.n_out % unit.n_in == 0
        return 5 if is_image else _NO_CHAIN
    if unit.n_in is None:
        # Embeddings stand together at the beginning; a depthwise convolution keeps its channels,
        # or gives several for each.
        keeps = unit.n_out is not None and unit.n_out % max(last.n_out, 1) == 0
        is_next = unit.rank == last.rank == 0 or (unit.rank > 0 and keeps)
        return 1 if is_next else _NO_CHAIN
    is_dense = unit.rank == len(_RANKS)
    if unit.n_in == last.n_in and unit.rank == last.rank == _RANKS.index("attention"):
        return 1  # queries, keys and values, which may be of fewer heads
    if unit.n_in == last.n_out:
        # After the last convolution only: a dense layer does not lead back to images.
        return 3 if is_dense and last.is_convolution else 1
    if (unit.n_in, unit.n_out, unit.rank) == (last.n_in, last.n_out, last.rank):
        return 1  # side by side: neither can come after the other
    if unit.is_convolution and unit.n_out == last.n_out:
        return 2 if any(unit.n_in == other.n_in for other in ordered) else _NO_CHAIN
    n_groups, rest = divmod(last.n_out, max(unit.n_in, 1))
    if unit.is_convolution and rest == 0 and n_groups and (unit.n_out or 0) % n_groups == 0:
        return 5  # each group of its outputs sees a group of its inputs
    is_flattened = is_dense and last.rank < unit.rank and unit.n_in % max(last.n_out, 1) == 0
    return 4 if is_flattened else _NO_CHAIN
