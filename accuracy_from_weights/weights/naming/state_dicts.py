"""State dicts and nested mappings of arrays: which convention each group of tensors follows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights.adapters import with_adapters_merged
from accuracy_from_weights.weights.arrays import known_shape, to_numpy
from accuracy_from_weights.weights.checkpoints import (
    COLLECTIONS,
    is_split_by_flax,
    mapping_at,
    named_arrays,
    network_in,
    no_such_part,
    prefix_of,
)
from accuracy_from_weights.weights.device_arrays import small_to_host
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.layers import Array, Path
from accuracy_from_weights.weights.naming.keras_names import (
    VARIABLE_NAMES,
    KerasGroup,
    blocks_of_keras_groups,
)
from accuracy_from_weights.weights.naming.torch_names import Hint, parts_of_torch_group
from accuracy_from_weights.weights.order.block_order import registered_in_flow
from accuracy_from_weights.weights.order.chaining import Block, parts_of_blocks
from accuracy_from_weights.weights.order.graph import Graph, with_graph
from accuracy_from_weights.weights.order.layer_order import in_order_of_flow, is_sorted_by_name
from accuracy_from_weights.weights.parametrised import effective_weights
from accuracy_from_weights.weights.quantised import dequantised

_MARKERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer"}
"""Parts of a name that wrappers put in, anywhere."""

_AROUND = ("module", "model", "net", "network", "base_model")
"""Names of what wraps a whole network."""

_BUFFERS = re.compile(
    r"num_batches_tracked|(?:.*_)?position_ids|(?:.*_)?token_type_ids|(?!weight_mask).*_mask|mask|.*_index|"
    r".*_indices|attn_bias|masked_bias|inv_freq|.*(?:cos|sin)_cached|n_averaged|seed_generator.*|"
    r"freqs?(?:_cis|_complex)?|frequencies"
)


def parts_of_mapping(
    source: Mapping[Any, Any],
    hints: Mapping[Path, Hint] | None = None,
    order_is_known: bool = True,
    graph: Graph | None = None,
    part: str | None = None,
) -> list[Part]:
    """Return the kernels and normalisations of a state dict or a nested mapping, in order.

    Parameters
    ----------
    source : mapping
        Names to tensors, or to mappings of the same kind; dots and slashes in a name also nest.
        A training script's checkpoint that holds a state dict among other things will do.
    hints : mapping of tuple of str to Hint, optional
        By the module's name.
    order_is_known : bool
        Whether the mapping's order is the data's. Default: True, except that Keras's and Flax's
        names in alphabetical order are taken for unordered, and PyTorch's where their shapes do
        not chain in that order but do in another.
    graph : Graph, optional
    part : str, optional
        As in `read_weights`, whose errors this raises.
    """
    named = None if part is None else mapping_at(source, part)
    flat = _flat(source if named is None else named)
    prefix = _common_prefix([path for path, value in flat if known_shape(value) != ()])
    if part is not None and named is None:
        prefix = _prefix_of_part(part, [path for path, _ in flat], prefix)
        flat = [(path, value) for path, value in flat if path[: len(prefix)] == prefix]
    plain = dequantised(small_to_host(_without_ties(flat)))
    tensors = {}
    for path, value in with_adapters_merged(plain).items():
        array = to_numpy(value, ".".join(path))
        if array is not None:
            tensors[_without_prefix(path, prefix)] = array
    groups: dict[Path, dict[str, Array]] = {}
    for path, array in effective_weights(tensors).items():
        groups.setdefault(path[:-1], {})[path[-1]] = array

    def as_read(path: Path) -> Path:
        return _without_prefix(_without_markers(path), prefix)

    hints = {as_read(path): hint for path, hint in (hints or {}).items()}
    if graph is not None:
        nodes = (n if n.path is None else replace(n, path=as_read(n.path)) for n in graph.nodes)
        graph = Graph(tuple(nodes))
    return parts_of_blocks(_blocks(groups, hints, order_is_known, graph))


def _blocks(
    groups: Mapping[Path, Mapping[str, Array]],
    hints: Mapping[Path, Hint],
    order_is_known: bool,
    graph: Graph | None,
) -> list[Block]:
    keras = [KerasGroup(path, group) for path, group in groups.items() if _follows_keras(group)]
    if len(keras) == len(groups):
        order_is_known = order_is_known and not is_sorted_by_name(list(groups))
    blocks = blocks_of_keras_groups(keras)
    of_keras = {group.path for group in keras}
    for path, group in groups.items():
        if path not in of_keras:
            parts = parts_of_torch_group(path, group, hints.get(path, Hint()))
            blocks.append(Block(path, tuple(parts)))
    if 0 < len(keras) < len(groups):
        positions = {path: i for i, path in enumerate(groups)}
        blocks.sort(key=lambda block: positions[block.path])
    if graph is None:
        blocks = in_order_of_flow(blocks, order_is_known)
    else:
        blocks = with_graph(blocks, graph)
    return registered_in_flow(blocks)


def _follows_keras(group: Mapping[str, Array]) -> bool:
    return not any("weight" in leaf or leaf == "running_mean" for leaf in group) and any(
        leaf in VARIABLE_NAMES for leaf in group
    )


def _flat(source: Mapping[Any, Any]) -> list[tuple[Path, Any]]:
    """Return the names and values of all tensors of the one network in a checkpoint."""
    network = network_in(source)
    is_split = is_split_by_flax(network)
    flat = []
    for path, value in named_arrays(network):
        bare = _without_markers(path[1:] if is_split and path[0] in COLLECTIONS else path)
        if bare and not _BUFFERS.fullmatch(bare[-1]):
            flat.append((bare, value))
    return flat


def _without_ties(flat: list[tuple[Path, Any]]) -> dict[Path, Any]:
    """Return each tensor of PyTorch once, under the first of its names.

    Tied weights are one tensor under several names in a module and in its ``.pt`` file, while
    ``.safetensors`` files hold them once.
    """
    tensors: dict[Path, Any] = {}
    met: set[tuple[Any, ...]] = set()
    for path, value in flat:
        place = _place(value)
        if place is None or place not in met:
            tensors[path] = value
        if place is not None:
            met.add(place)
    return tensors


def _place(tensor: Any) -> tuple[Any, ...] | None:
    """Return where a tensor of PyTorch lies in memory; None for any other one."""
    if type(tensor).__name__ not in ("Tensor", "Parameter"):
        return None
    try:
        pointer = tensor.data_ptr()
        return (tensor.device, pointer, tensor.shape, tensor.stride()) if pointer else None
    except (RuntimeError, NotImplementedError, AttributeError):  # sparse, fake, or not PyTorch's
        return None


def _prefix_of_part(part: str, paths: list[Path], prefix: Path) -> Path:
    """Return what the names of a part's tensors begin with, wrappers' names included."""
    found = prefix_of(part, paths)
    if found is not None:
        return found
    bare = [_without_prefix(path, prefix) for path in paths]
    inner = prefix_of(part, bare)
    if inner is None:
        raise no_such_part(part, bare)
    return prefix + inner


def _without_markers(path: Path) -> Path:
    if _MARKERS.isdisjoint(path):
        return path
    return tuple(name for name in path if name not in _MARKERS)


def _common_prefix(paths: list[Path]) -> Path:
    """Return leading names that are a wrapper's: ``module.``, ``model.``, ... before every layer.

    A wrapper's own tensors, such as the weights of a loss, do not lie in a layer of many.
    """
    prefix: Path = ()
    firsts = {path[:1] for path in paths if len(path) > 2}
    while len(firsts) == 1 and next(iter(firsts))[-1] in _AROUND:
        (prefix,) = firsts
        n = len(prefix)
        firsts = {path[: n + 1] for path in paths if len(path) > n + 2}
    return prefix


def _without_prefix(path: Path, prefix: Path) -> Path:
    return path[len(prefix) :] if path[: len(prefix)] == prefix else path


def check_is_mapping(source: object) -> Mapping[Any, Any]:
    """Return the mapping, or raise `UnsupportedModelError` for anything else."""
    if isinstance(source, Mapping):
        return source
    raise UnsupportedModelError(
        f"An object of type {type(source).__name__} is no network; pass a Keras model, a PyTorch "
        "module, a state dict, a nested mapping of arrays or a path."
    )
