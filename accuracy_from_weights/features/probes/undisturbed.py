"""Run a PyTorch module such that nothing afterwards tells that it was run."""

from __future__ import annotations

import contextlib
import functools
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


@contextlib.contextmanager
def preserved_random_states() -> Iterator[None]:
    """Put back the global random states of Python and numpy, which a model may draw from."""
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002


@contextlib.contextmanager
def undisturbed(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluate a module inside the context; on leaving it, the module is what it was.

    Inside, every part is in evaluation mode, autocast is off, no gradients are kept, and only
    hooks that PyTorch itself defines fire.

    Parameters
    ----------
    module : torch.nn.Module
    device : torch.device
        Where it runs.
    """
    import torch

    parts = list(module.modules())
    with contextlib.ExitStack() as stack:
        stack.enter_context(preserved_random_states())
        if device.type == "cpu":
            stack.enter_context(torch.random.fork_rng(devices=[]))
        else:
            where = [device.index or 0]
            stack.enter_context(torch.random.fork_rng(where, device_type=device.type))
        # Not inference_mode: what a module keeps of a forward pass must stay fit for training.
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(_own_hooks_only(parts))
        stack.enter_context(_kept_buffers(parts))
        stack.enter_context(_evaluation_mode(parts))
        yield


@contextlib.contextmanager
def _evaluation_mode(parts: list[nn.Module]) -> Iterator[None]:
    # Not eval() and train(), which users override and which would set all parts alike.
    modes = [part.training for part in parts]
    try:
        for part in parts:
            part.training = False
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode


@contextlib.contextmanager
def _kept_buffers(parts: list[nn.Module]) -> Iterator[None]:
    """Put back buffers that a forward pass has written to or replaced."""
    kept = [
        (part, name, buffer, buffer._version, buffer.clone())
        for part in parts
        for name, buffer in part.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        for part, name, buffer, version, copy in kept:
            if buffer._version != version:
                buffer.copy_(copy)
            if getattr(part, name, None) is not buffer:
                setattr(part, name, buffer)


@contextlib.contextmanager
def _own_hooks_only(parts: list[nn.Module]) -> Iterator[None]:
    """Set aside all hooks but PyTorch's own, which compute weights before each forward pass."""
    from torch.nn.modules import module as of_all_modules

    held: list[tuple[dict[str, Any], str, Any]] = []
    for part in parts:
        held += [(part.__dict__, name, part.__dict__.get(name)) for name in _HOOKS]
    held += [(vars(of_all_modules), name, vars(of_all_modules)[name]) for name in _GLOBAL_HOOKS]
    held = [(owner, name, hooks) for owner, name, hooks in held if hooks]
    try:
        for owner, name, hooks in held:
            owner[name] = OrderedDict(
                (key, hook) for key, hook in hooks.items() if _is_of_torch(hook)
            )
        yield
    finally:
        for owner, name, hooks in held:
            owner[name] = hooks


_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")


def _is_of_torch(hook: Callable[..., Any]) -> bool:
    while isinstance(hook, functools.partial):
        hook = hook.func
    origin = getattr(hook, "__module__", None) or type(hook).__module__
    return origin.partition(".")[0] == "torch"
