"""The few operations that numpy and PyTorch spell differently; all others are written once.

Everything that describes weights takes arrays of numpy or tensors of PyTorch, whichever the kernels
are, and calls what both have under one name (``x.sum(-1)``, ``@``, ``namespace_of(x).sqrt(x)``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.weights.device_arrays import to_host

ArrayLike: TypeAlias = Any
"""An array of numpy or a tensor of PyTorch."""

FloatArray = NDArray[np.floating]

TINY = 1e-30

LARGEST_FEATURE = 1e4
"""Features are clipped to it: beyond, a number says "absurd" and no more."""

DIVERGED = 1e6
"""Beyond it a weight has diverged; clipping it keeps squares and their sums inside float32."""


def namespace_of(values: ArrayLike) -> Any:
    """Return the module whose functions work on the values: numpy, or torch."""
    if isinstance(values, np.ndarray):
        return np
    import torch  # already imported: the tensor is made of it

    return torch


def sent_to(like: ArrayLike, values: NDArray[Any]) -> ArrayLike:
    """Return an array of numpy where another one lies."""
    if isinstance(like, np.ndarray):
        return values
    import torch

    return torch.tensor(values, device=like.device)


def constant(like: ArrayLike, function: Callable[..., NDArray[Any]], *arguments: Any) -> ArrayLike:
    """Return what a function gives, where an array lies; it is worked out and sent once."""
    where = None if isinstance(like, np.ndarray) else like.device
    return _constant(where, function, *arguments)


@lru_cache(maxsize=128)
def _constant(where: Any, function: Callable[..., NDArray[Any]], *arguments: Any) -> ArrayLike:
    values = function(*arguments)
    if where is None:
        values.flags.writeable = False
        return values
    import torch

    return torch.tensor(values, device=where)


def floored(values: ArrayLike, least: float = TINY) -> ArrayLike:
    """Return the values, or the least where they are smaller."""
    if isinstance(values, np.ndarray):
        return np.maximum(values, least)
    return values.clamp_min(least)


def clipped(values: ArrayLike) -> ArrayLike:
    """Return the values inside what single precision can square and sum."""
    return values.clip(-DIVERGED, DIVERGED)


def sorted_rows(values: ArrayLike) -> ArrayLike:
    """Return the values sorted along the last axis."""
    if isinstance(values, np.ndarray):
        return np.sort(values, axis=-1)
    return values.sort(-1).values


def as_float32(values: ArrayLike) -> ArrayLike:
    """Return the values in single precision, themselves where they are."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float32, copy=False)
    return values.float()


def on_host(values: ArrayLike) -> NDArray[np.float64]:
    """Copy to the CPU: the one place where what was worked out leaves its device."""
    array = values if isinstance(values, np.ndarray) else to_host(values)
    return array.astype(np.float64)


def dot(a: ArrayLike, b: ArrayLike) -> ArrayLike:
    """Return the sums of products along the last axis."""
    return (a[..., None, :] @ b[..., None])[..., 0, 0]


def columns(rows: Sequence[ArrayLike]) -> ArrayLike:
    """Put k arrays of shape (n,) together, to shape (n, k)."""
    if isinstance(rows[0], np.ndarray):
        return np.array(rows).T  # a few times faster than to stack them
    return namespace_of(rows[0]).stack(rows, -1)


def in_batches(
    function: Callable[..., Any],
    *arguments: Sequence[ArrayLike | None],
    most: float = math.inf,
) -> list[Any]:
    """Apply a function to arrays, those of one shape together, along their first axis.

    It may return an array or a named tuple of arrays. Of the first argument, ``most`` values come
    together: what is large needs no company.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for k, arrays in enumerate(zip(*arguments, strict=True)):
        shapes = tuple(None if array is None else tuple(array.shape) for array in arrays)
        groups.setdefault(shapes, []).append(k)
    found: list[Any] = [None] * len(arguments[0])
    for alike in groups.values():
        first: ArrayLike = arguments[0][alike[0]]
        n = len(first)
        size = max(int(min(most / max(math.prod(first.shape), 1), len(alike))), 1)
        for places in (alike[start : start + size] for start in range(0, len(alike), size)):
            if len(places) == 1:
                found[places[0]] = function(*(arrays[places[0]] for arrays in arguments))
                continue
            results = function(*(_joined([arrays[k] for k in places]) for arrays in arguments))
            for i, k in enumerate(places):
                own = slice(i * n, (i + 1) * n)
                is_one = not isinstance(results, tuple)
                found[k] = results[own] if is_one else type(results)(*(r[own] for r in results))
    return found


def _joined(arrays: list[ArrayLike]) -> ArrayLike:
    return None if arrays[0] is None else namespace_of(arrays[0]).concatenate(arrays)


@contextmanager
def plain_arithmetic(like: ArrayLike) -> Iterator[None]:
    """Work without a graph or lower precision, whatever the training loop is in the middle of."""
    with ExitStack() as stack:
        if isinstance(like, np.ndarray):
            stack.enter_context(np.errstate(all="ignore"))
        else:
            import torch

            stack.enter_context(torch.no_grad())
            if like.device.type in ("cpu", "cuda", "xpu"):
                stack.enter_context(torch.autocast(like.device.type, enabled=False))
        yield
