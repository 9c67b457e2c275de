"""Reading of PyTorch modules: the state dict, and the kinds and groups of its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights.checkpoints import no_such_part
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.naming.state_dicts import parts_of_mapping
from accuracy_from_weights.weights.naming.torch_names import Hint
from accuracy_from_weights.weights.torch_state import effective_state

if TYPE_CHECKING:
    from torch import nn

_WRAPPED = ("_orig_mod", "module")
"""Where torch.compile, and DataParallel with its kin, keep the module that they wrap."""


def parts_of_torch_module(module: nn.Module) -> list[Part]:
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


def submodule(module: nn.Module, part: str) -> nn.Module:
    """Return the module inside a module that has a name.

    Parameters
    ----------
    module : torch.nn.Module
    part : str
        As `torch.nn.Module.named_modules` spells it; names of wrappers before it may be left out.

    Raises
    ------
    UnsupportedModelError
        When there is no such module, or more than one.
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
    """Refuse a module whose tensors lie on several processes.

    Raises
    ------
    UnsupportedModelError
        When a part of it is fully sharded.
    """
    for part in module.modules():
        if type(part).__name__ in ("FullyShardedDataParallel", "XlaFullyShardedDataParallel"):
            raise UnsupportedModelError(
                f"The module is wrapped in {type(part).__name__}, which spreads its tensors over "
                "processes; gather a full state dict first and read that."
            )


def _hint(module: nn.Module) -> Hint:
    from torch import nn

    if type(module).__module__.startswith("torch.ao.nn"):
        return _hint_of_quantised(module)
    if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.instancenorm._InstanceNorm):
        return Hint(epsilon=module.eps)
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return Hint(kind="transposed_conv", groups=module.groups)
    if isinstance(module, nn.modules.conv._ConvNd):
        is_depthwise = module.groups > 1 and module.groups == module.in_channels
        return Hint(kind="depthwise_conv" if is_depthwise else "conv")
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return Hint(kind="embedding")
    if isinstance(module, nn.Linear):
        return Hint(kind="dense")
    if isinstance(module, nn.PReLU):
        return Hint(is_ignored=True)
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # transformers' linear layer
        return Hint(kind="dense", is_transposed=True)
    return Hint()


def _hint_of_quantised(module: Any) -> Hint:
    """Return what is known of a layer of torch.ao.quantization, none of torch.nn's classes."""
    kind = type(module).__name__
    if "ConvTranspose" in kind:
        return Hint(kind="transposed_conv", groups=module.groups)
    if "Conv" in kind:
        is_depthwise = module.groups > 1 and module.groups == module.in_channels
        return Hint(kind="depthwise_conv" if is_depthwise else "conv")
    if "Embedding" in kind:
        return Hint(kind="embedding")
    if "Linear" in kind:
        return Hint(kind="dense")
    if "BatchNorm" in kind:
        return Hint(epsilon=module.eps)
    return Hint()
