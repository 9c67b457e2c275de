"""Choice of the one network in a checkpoint; several networks are refused.

A training script's checkpoint holds a state dict among other things: the optimiser's state, random
states, counters. It may also hold a second network: a teacher, an averaged copy, a discriminator.
Reading both as the layers of one network gives a confident wrong estimate, so one is chosen by
name, or none is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights.arrays import is_array, known_shape
from accuracy_from_weights.weights.found_layers import Kernel, Part
from accuracy_from_weights.weights.layers import Path

Kernels = list[tuple[Path, tuple[int, ...]]]
"""Names and shapes of all arrays of two or more axes."""

_SURE = ("state_dict", "model_state_dict", "model_state", "net_state_dict", "params")
_LIKELY = ("model", "net", "network", "module", "weights", "ema", "model_ema", "ema_model")
"""Names under which training scripts keep a state dict; the likely ones name layers as well."""

_TRAINER_STATE = re.compile(
    r"optim\w*|opt|opt_?states?|optimizer.*|lr_.*|.*scheduler.*|callbacks?|loops|.*scaler|.*rng.*|"
    r"random_?states?|hyper_param.*|hparams|amp_.*|epoch|global_step|iteration|"
    r"current_model_state|criterion.*|.*loss(?:es|_fn)?|metrics?",
    re.IGNORECASE,
)
"""Names of what a training script keeps beside the network. Lightning keeps the weights that are
not averaged as ``current_model_state``, and those that count as ``state_dict``."""

COLLECTIONS = ("params", "batch_stats")
"""Flax's collections: the variables of one layer lie in both."""

_COPY_WORDS = {
    *("ema", "swa", "momentum", "averaged", "avg", "polyak", "shadow"),
    *("target", "frozen", "reference", "ref", "old", "best", "copy", "backup"),
}
"""Words that name a second copy of a network, where the shapes are equal."""

_OTHER_WORDS = {"teacher", "discriminator", "critic"}
"""Words that name a second network, whatever its shapes are."""

_KERNEL_NAMES = (("weight",), ("kernel",))
_MAX_DEPTH = 64
_MAX_WRAPPERS = 8
_NAMED_AT_MOST = 6


def network_in(source: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return the state dict or nested mapping of the one network inside a checkpoint.

    Several networks are an `UnsupportedModelError`.
    """
    for _ in range(_MAX_WRAPPERS):
        inner = _wrapper(source)
        if inner is None:
            break
        source = source[inner]
    return {
        key: value
        for key, value in source.items()
        if is_array(value) or not _TRAINER_STATE.fullmatch(str(key))
    }


def mapping_at(source: Mapping[Any, Any], part: str) -> Mapping[Any, Any] | None:
    """Return the mapping under a key of a checkpoint, or None where no key is named so.

    The key may lie at the top or inside what training scripts wrap around networks; dots lead to
    keys inside keys.
    """
    levels: list[Mapping[Any, Any]] = [source]
    for _ in range(_MAX_WRAPPERS):
        for level in levels:
            value: Any = level.get(part)
            for name in part.split(".") if value is None else ():
                value = (level if value is None else value).get(name)
                if not isinstance(value, Mapping):
                    break
            if isinstance(value, Mapping):
                return value
        levels = [
            value
            for level in levels
            for key, value in level.items()
            if isinstance(value, Mapping) and key in (*_SURE, *_LIKELY)
        ]
    return None


def _wrapper(level: Mapping[Any, Any]) -> str | None:
    """Return the key of the state dict in a checkpoint, or None for a state dict itself."""
    networks = {
        str(key): kernels
        for key, value in level.items()
        if isinstance(value, Mapping | list | tuple) and not _TRAINER_STATE.fullmatch(str(key))
        if (kernels := _kernels(value))
    }
    mappings = [name for name in networks if isinstance(level.get(name), Mapping)]
    chosen = next((name for name in (*_SURE, *_LIKELY) if name in mappings), None)
    if chosen is None:
        return None
    for name, kernels in networks.items():
        if (
            name != chosen
            and (
                (_is_copy(name) and _is_copy_of(name, kernels, chosen, networks[chosen]))
                or {*kernels} == {*networks[chosen]}
                # An array has the name of a layer's kernel, unlike an optimiser's state.
                or (chosen in _LIKELY and any(path[-1:] in _KERNEL_NAMES for path, _ in kernels))
            )
        ):
            raise several_networks([chosen, name])
    return None if is_split_by_flax(level) else chosen


def is_split_by_flax(source: Mapping[Any, Any]) -> bool:
    """Return whether the variables of one layer lie in several collections, as Flax keeps them."""
    return all(isinstance(source.get(name), Mapping) for name in COLLECTIONS)


def _kernels(source: Any) -> Kernels:
    return [
        (path, shape)
        for path, value in named_arrays(source)
        if (shape := known_shape(value)) is not None and len(shape) > 1
    ]


def named_arrays(source: Any, path: Path = (), met: dict[int, Any] | None = None) -> Iterator[Any]:
    """Yield the path and the value of every array inside nested mappings and sequences.

    Dots and slashes in a name nest as mappings do. A container that is met twice is read once, so
    that neither a cycle nor containers shared a billionfold keep the reader busy.
    """
    met = {} if met is None else met
    if is_array(source):
        yield path, source
    elif isinstance(source, Mapping | list | tuple):
        if id(source) in met or len(path) > _MAX_DEPTH:
            return
        met[id(source)] = source  # held on to, so that its id stays its own
        items = source.items() if isinstance(source, Mapping) else enumerate(source)
        for key, value in items:
            yield from named_arrays(value, path + _path(str(key).removesuffix(":0")), met)


def prefix_of(part: str, paths: Iterable[Path]) -> Path | None:
    """Return the path that a part's name stands for, or None where nothing lies below it."""
    wanted = _path(part)
    is_there = any(len(path) > len(wanted) and path[: len(wanted)] == wanted for path in paths)
    return wanted if is_there and wanted else None


def parts_under(parts: list[Part], part: str | None) -> list[Part]:
    """Return what has a name that begins with a part's, or raise `UnsupportedModelError`."""
    if part is None:
        return parts
    paths = [tuple(p.name.split(".")) for p in parts]
    wanted = _path(part)
    found = [p for p, path in zip(parts, paths, strict=True) if path[: len(wanted)] == wanted]
    if not found:
        raise no_such_part(part, paths)
    return found


def no_such_part(part: str, paths: Iterable[Path]) -> UnsupportedModelError:
    """Return the error for a part that is not there; it names those that are."""
    names = list(dict.fromkeys(path[0] for path in paths if path and path[0]))
    there = _listed(names) if names else "none"
    return UnsupportedModelError(
        f"There is no part {part!r} with weights in it; the parts at the top are {there}."
    )


def several_networks(names: Sequence[str]) -> UnsupportedModelError:
    """Return the error for several networks in one place; the first is an example of a choice."""
    return UnsupportedModelError(
        f"Several networks lie in one place: {_listed(names)}. Choose one by its name, for "
        f"example part={names[0]!r} (--part {names[0]} on the command line), or pass a state dict "
        "of one network."
    )


def check_one_network(parts: Sequence[Part]) -> None:
    """Raise `UnsupportedModelError` for layers that belong to several networks.

    Two signs count: a name that means another network (``teacher``, ``ema_model``) beside the first
    one, at any depth; and nothing but equal subtrees at the first depth where names differ, unless
    they are numbered and fit behind one another, as the blocks of one network do.
    """
    kernels = [part for part in parts if isinstance(part, Kernel)]
    _check((), [(tuple(p.name.split(".")), tuple(p.kernel.shape)) for p in kernels])


def _check(around: Path, kernels: Kernels, is_whole: bool = True) -> None:
    children: dict[str, Kernels] = {}
    for path, shape in kernels:
        if path:
            children.setdefault(path[0], []).append((path[1:], shape))
    if is_whole and len(children) > 1:
        is_whole = False
        if _are_several(children):
            raise several_networks([".".join((*around, name)) for name in children])
    for name, inside in children.items():
        if _is_copy(name):
            for other, beside in children.items():
                if other != name and _is_copy_of(name, inside, other, beside):
                    both = (other, name) if len(beside) > 1 else (name, other)
                    raise several_networks([".".join((*around, n)) for n in both])
        if len(inside) > 1:
            _check((*around, name), inside, is_whole)


def _are_several(children: Mapping[str, Kernels]) -> bool:
    """Return whether equal subtrees are all there is and cannot be consecutive blocks."""
    first, *others = children.values()
    if len(first) < 2 or any({*other} != {*first} for other in others):
        return False
    is_numbered = len({re.sub(r"\d+", "", name) for name in children}) == 1
    given = {shape[0] for _, shape in first}
    taken = {shape[1] for _, shape in first}
    return not (is_numbered and taken <= given)


def _is_copy_of(name: str, inside: Kernels, other: str, beside: Kernels) -> bool:
    words = _words(name)
    if not _OTHER_WORDS.isdisjoint(words):
        return True
    if "d" in words:  # G and D, netG and netD of a GAN
        as_generator = ["g" if word == "d" else word for word in words]
        return _words(other) == as_generator and min(len(inside), len(beside)) > 1
    rest = [word for word in words if word not in _COPY_WORDS]
    is_counterpart = bool(rest) and rest == [w for w in _words(other) if w not in _COPY_WORDS]
    same = sorted(shape for _, shape in inside) == sorted(shape for _, shape in beside)
    return same and (len(inside) > 1 or is_counterpart)


def _is_copy(name: str) -> bool:
    return not ({"d"} | _COPY_WORDS | _OTHER_WORDS).isdisjoint(_words(name))


def _words(name: str) -> list[str]:
    """``emaModel_2`` -> ``["ema", "model"]``."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]


@lru_cache(maxsize=16_384)  # a callback meets the same names at each epoch
def _path(name: str) -> Path:
    """``encoder/layers.0`` -> ``("encoder", "layers", "0")``."""
    return tuple(part for part in re.split(r"[./]", name) if part)


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name) for name in names[:_NAMED_AT_MOST]]
    if len(names) > _NAMED_AT_MOST:
        shown.append(f"{len(names) - _NAMED_AT_MOST} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
