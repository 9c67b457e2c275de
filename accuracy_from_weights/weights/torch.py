"""Reading of PyTorch modules: the state dict, and the kinds and groups of its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights.arrays import bases_of
from accuracy_from_weights.weights.checkpoints import no_such_part
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.naming.state_dicts import parts_of_mapping
from accuracy_from_weights.weights.naming.torch_names import Hint
from accuracy_from_weights.weights.torch_state import effective_state

if TYPE_CHECKING:
    from torch import nn

_WRAPPED = ("_orig_mod", "module")
"""Where torch.compile, and DataParallel with its kin, keep the module that they wrap."""


def parts_of_model(module: nn.Module) -> list[Part]:
    """Return the kernels and normalisations of a module, in the order in which they run.

    Where the module's graph cannot be found, the order is that of its state dict.
    """
    from accuracy_from_weights.weights.order.torch_graph import graph_of_module

    module = unwrapped(module)
    refuse_sharded(module)
    return parts_of_mapping(
        effective_state(module),
        {_path(name): _hint(part) for name, part in module.named_modules(remove_duplicate=False)},
        graph=graph_of_module(module),
    )


def layer_inside(module: nn.Module, part: str) -> nn.Module:
    """Return the one module inside a module that has a name, or raise `UnsupportedModelError`.

    The name is as in `torch.nn.Module.named_modules`; wrappers' names before it may be left out.
    """
    modules = dict(unwrapped(module).named_modules())
    if part in modules:
        return modules[part]
    found = [inner for name, inner in modules.items() if name.endswith(f".{part}")]
    if len(found) != 1:
        raise no_such_part(part, [_path(name) for name in modules])
    return found[0]


def _path(name: str) -> tuple[str, ...]:
    return tuple(name.split(".")) if name else ()


def unwrapped(module: Any) -> Any:
    """Return the module inside torch.compile, DataParallel and its kin."""
    wrappers = ("OptimizedModule", "DataParallel", "DistributedDataParallel")
    while type(module).__name__ in wrappers:
        module = next(getattr(module, name) for name in _WRAPPED if hasattr(module, name))
    return module


def refuse_sharded(module: nn.Module) -> None:
    """Raise `UnsupportedModelError` for a module whose tensors lie on several processes."""
    for part in module.modules():
        if type(part).__name__ in ("FullyShardedDataParallel", "XlaFullyShardedDataParallel"):
            raise UnsupportedModelError(
                f"The module is wrapped in {type(part).__name__}, which spreads its tensors over "
                "processes; gather a full state dict first and read that."
            )


def _hint(module: Any) -> Hint:
    # Quantised layers are none of torch.nn's classes, but their bases have the same names.
    classes = bases_of(module, "torch")
    if classes & {"_BatchNorm", "_InstanceNorm"}:
        return Hint(epsilon=module.eps)
    if "_ConvTransposeNd" in classes:
        return Hint(kind="transposed_conv", groups=module.groups)
    if "_ConvNd" in classes:
        is_depthwise = module.groups > 1 and module.groups == module.in_channels
        return Hint(kind="depthwise_conv" if is_depthwise else "conv")
    if classes & {"Embedding", "EmbeddingBag"}:
        return Hint(kind="embedding")
    if "Linear" in classes:
        return Hint(kind="dense")
    if "PReLU" in classes:
        return Hint(is_ignored=True)
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # transformers' linear layer
        return Hint(kind="dense", is_transposed=True)
    return Hint()
