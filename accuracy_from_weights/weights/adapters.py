"""Adapters of fine-tuning (LoRA): merged where the scale is known, refused where it is not.

A network with unmerged adapters computes with ``W + scale * B A``, of which its layers hold ``W``
only; a file of adapters holds no network at all. Names of tensors are those of peft
(``base_layer``, ``lora_A``, ``lora_B``) and of its relatives (``lora_down``, ``lora_up``).

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights.arrays import to_numpy
from accuracy_from_weights.weights.layers import Array, Path

_LORA = re.compile(r"(?:.*_)?lora(?:_.*)?", re.IGNORECASE)
_OTHERS = re.compile(
    r"lora_magnitude_vector|lora_embedding_[AB]|ia3_l|hada_.*|lokr_.*|oft_.*|boft_.*|vera_.*|"
    r"fourierft_.*|prompt_embeddings|adaption_.*"
)
_UP = {"lora_A": "lora_B", "lora_down": "lora_up", "lora_a": "lora_b"}
_FACTORS = ("scaling", "lora_scaling", "alpha", "lora_alpha")
_ADVICE = "merge the adapter into its network first (peft: merge_and_unload()) and read that"


def with_adapters_merged(tensors: Mapping[Path, Any]) -> dict[Path, Any]:
    """Add each LoRA adapter to the weight beside it; without the adapters, the order is the same.

    Raises
    ------
    UnsupportedModelError
        When the network of an adapter or its scale is missing, when a layer has several adapters,
        or when they are of another kind.
    """
    adapted: dict[Path, dict[Path, Any]] = {}
    plain: dict[Path, Any] = {}
    for path, tensor in _without_originals(tensors).items():
        place = next((i for i, name in enumerate(path) if _is_adapter(name)), None)
        if place is None:
            plain[path] = tensor
        else:
            adapted.setdefault(path[:place], {})[path[place:]] = tensor
    for layer, adapter in adapted.items():
        weight = (*layer, "weight")
        name = ".".join((*layer, *next(iter(adapter))))
        if weight not in plain:
            raise UnsupportedModelError(
                f"{name!r} is an adapter without the weight that it adapts; {_ADVICE}."
            )
        scale = _scale(layer, adapter, plain)
        plain[weight] = _merged(name, plain[weight], adapter, scale)
    return plain


@lru_cache(maxsize=16_384)  # a network's names are made of few words
def _is_adapter(name: str) -> bool:
    return bool(_LORA.fullmatch(name) or _OTHERS.fullmatch(name))


def _without_originals(tensors: Mapping[Path, Any]) -> dict[Path, Any]:
    """Keep peft's fully trained copy of a module, and drop the original beside it."""
    kept: dict[Path, Any] = {}
    copies: dict[Path, set[str]] = {}
    for path in tensors:
        if "modules_to_save" in path[:-1]:
            i = path.index("modules_to_save")
            copies.setdefault(path[:i], set()).add(path[i + 1])
    for path, tensor in tensors.items():
        module = next((path[:i] for i in range(len(path)) if path[:i] in copies), None)
        if module is None:
            kept[path] = tensor
        elif len(copies[module]) > 1:
            raise UnsupportedModelError(
                f"{'.'.join(module)!r} has several trained copies of its weights; {_ADVICE}."
            )
        elif path[len(module)] == "modules_to_save":
            kept[module + path[len(module) + 2 :]] = tensor
    return kept


def _scale(layer: Path, adapter: Mapping[Path, Any], plain: dict[Path, Any]) -> float | None:
    """Take the factor of an adapter, or its alpha divided by the rank, from the tensors around."""
    around = {part[0]: tensor for part, tensor in adapter.items()}
    around |= {name: plain.pop((*layer, name)) for name in _FACTORS if (*layer, name) in plain}
    found = next((name for name in _FACTORS if name in around), None)
    if found is None:
        return None
    tensor = around[found]
    number = to_numpy(tensor if len(tensor.shape) else tensor[None], found)
    if number is None or number.size != 1:
        return None
    rank = next((down.shape[0] for part, down in adapter.items() if part[0] in _UP), 1)
    return float(number.reshape(-1)[0]) / (rank if "alpha" in found else 1)


def _merged(name: str, weight: Any, adapter: Mapping[Path, Any], scale: float | None) -> Array:
    downs = [part for part in adapter if part[0] in _UP]
    ups = [(_UP[part[0]], *part[1:]) for part in downs]
    is_plain = sum(part[0] not in _FACTORS for part in adapter) == 2
    if len(downs) == 1 and is_plain and ups[0] in adapter:
        arrays = [to_numpy(t, name) for t in (weight, adapter[ups[0]], adapter[downs[0]])]
        base, up, down = arrays
        if base is not None and up is not None and down is not None:
            fits = up.ndim == down.ndim == 2 and base.shape == (up.shape[0], down.shape[1])
            if fits and scale is None:
                raise UnsupportedModelError(
                    f"{name!r} is an unmerged adapter whose scale is not stored with it; {_ADVICE}."
                )
            if fits and scale is not None:
                with np.errstate(all="ignore"):
                    return np.asarray(base + scale * (up @ down), base.dtype)
    raise UnsupportedModelError(
        f"{name!r} belongs to an adapter that cannot be merged here, or to several; {_ADVICE}."
    )
