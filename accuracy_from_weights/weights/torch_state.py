"""State dict of a PyTorch module with adapters merged and packed layers unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights.arrays import bases_of

if TYPE_CHECKING:
    from torch import nn

_ADDED = {"LoraLayer", "LycorisLayer"}
"""Classes of peft's layers whose adapters are added to the weight."""


def effective_state(module: nn.Module) -> dict[str, Any]:
    """Return a module's state dict with what its wrappers do to the weights.

    Active adapters of peft are added to their layers, as in the forward pass, and recurrent layers
    that torch.ao.quantization has packed are taken apart; other adapters, and objects that hold no
    tensor, are an `UnsupportedModelError`.
    """
    state: dict[str, Any] = dict(module.state_dict(keep_vars=True))
    for name, inner in module.named_modules():
        classes = bases_of(inner)
        prefix = f"{name}." if name else ""
        if "BaseTunerLayer" in classes:
            _merge(state, prefix, inner, classes)
        elif "AuxiliaryTrainingWrapper" in classes:
            _choose(state, prefix, inner, classes)
        elif callable(getattr(inner, "get_weight", None)) and hasattr(inner, "_all_weight_values"):
            state = _unpacked(state, prefix, {**inner.get_weight(), **inner.get_bias()})
    for name, value in state.items():
        if type(value).__name__ == "ScriptObject":
            raise UnsupportedModelError(
                f"{name!r} is a packed object of PyTorch, whose weights cannot be read; read the "
                "network before it is quantised."
            )
    return state


def _unpacked(state: dict[str, Any], prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    """Put a recurrent layer's tensors in the place of the objects that hold them packed."""
    unpacked: dict[str, Any] = {}
    for key, value in state.items():
        if key.startswith(f"{prefix}_all_weight_values."):
            unpacked |= {prefix + name: tensor for name, tensor in tensors.items()}
        else:
            unpacked[key] = value
    return unpacked


def _merge(state: dict[str, Any], prefix: str, layer: Any, classes: frozenset[str]) -> None:
    """Put the sum of a layer's weight and its active adapters in place of both."""
    weight = f"{prefix}base_layer.weight"
    adapters = [] if layer.disable_adapters or layer.merged else [*_active(layer)]
    if adapters and (not classes & _ADDED or _is_more_than_added(layer, adapters)):
        raise UnsupportedModelError(
            f"{prefix.rstrip('.')!r} carries an adapter ({type(layer).__name__}) that cannot be "
            "merged here; merge it first (peft: merge_and_unload())."
        )
    parts = (*layer.adapter_layer_names, *layer.other_param_names)
    for key in [k for k in state if k.startswith(tuple(f"{prefix}{part}" for part in parts))]:
        del state[key]
    for adapter in adapters:
        state[weight] = state[weight].detach() + layer.get_delta_weight(adapter).detach()


def _active(layer: Any) -> Iterator[str]:
    for adapter in layer.active_adapters:
        if any(adapter in getattr(layer, part) for part in layer.adapter_layer_names):
            yield adapter


def _is_more_than_added(layer: Any, adapters: list[str]) -> bool:
    """Return whether an adapter scales the sum (DoRA), has a bias, or works in another way."""
    for adapter in adapters:
        up = getattr(layer, "lora_B", {})
        if adapter in up and getattr(up[adapter], "bias", None) is not None:
            return True
        if getattr(layer, "use_dora", {}).get(adapter) or adapter in getattr(
            layer, "lora_variant", {}
        ):
            return True
    return False


def _choose(state: dict[str, Any], prefix: str, wrapper: Any, classes: frozenset[str]) -> None:
    """Put the copy of a module that is in use in place of all its copies."""
    if "ModulesToSaveWrapper" not in classes:
        raise UnsupportedModelError(
            f"{prefix.rstrip('.')!r} is wrapped in a {type(wrapper).__name__}, which cannot be "
            "read; merge it first (peft: merge_and_unload())."
        )
    active = [name for name in wrapper.active_adapters if name in wrapper.modules_to_save]
    in_use = f"modules_to_save.{active[0]}." if active and not wrapper.disable_adapters else None
    for key in [key for key in state if key.startswith(prefix)]:
        rest = key[len(prefix) :]
        if rest.startswith(in_use or "original_module."):
            inner = rest[len(in_use or "original_module.") :]
            state[prefix + inner] = state.pop(key)
        elif rest.startswith(("modules_to_save.", "original_module.")):
            del state[key]
