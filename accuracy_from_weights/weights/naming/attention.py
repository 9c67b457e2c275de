"""Attention's fused projections, taken apart into query, key and value."""

from __future__ import annotations

import re

from accuracy_from_weights.weights.found_layers import Kernel
from accuracy_from_weights.weights.layers import Array

PROJECTIONS = ("query", "key", "value")

_NAMES = re.compile(
    r"(?:[qkvo]|query|key|value|out)(?:_proj|_dense|_lin)?|to_(?:q|k|v|out)|attention_output|"
    r"output_dense"
)
_FUSED = re.compile(r"qkv(?:_proj)?|wqkv|to_qkv|c_attn|in_proj|query_key_value", re.IGNORECASE)
_BLOCK = re.compile(r"att(?:n|ention)", re.IGNORECASE)


def is_projection(path: tuple[str, ...]) -> bool:
    """Return whether a linear layer's name is that of one of attention's four projections.

    Names such as ``out`` are common elsewhere, so the name of a block above must say attention;
    only ``q_proj``, ``k_proj`` and ``v_proj`` speak for themselves.
    """
    if not path:
        return False
    if re.fullmatch(r"[qkv]_proj", path[-1]) or is_fused(path):
        return True
    if path[-1].isdigit():  # Sequential(Linear, Dropout), as in to_out.0
        path = path[:-1]
    above = any(_BLOCK.search(part) for part in path[:-1])
    return above and _NAMES.fullmatch(path[-1].lower()) is not None


def is_fused(path: tuple[str, ...]) -> bool:
    """Return whether the name is one that is used for query, key and value in one kernel."""
    return bool(path) and _FUSED.fullmatch(path[-1]) is not None


def split_projections(name: str, kernel: Array, bias: Array | None) -> list[Kernel]:
    """Return three kernels, as views, of one that computes query, key and value one after another.

    Parameters
    ----------
    kernel : ndarray of shape (3 * out, in)
    bias : ndarray of shape (3 * out,) or None
    """
    width = kernel.shape[0] // 3
    parts = []
    for i, projection in enumerate(PROJECTIONS):
        rows = slice(i * width, (i + 1) * width)
        parts.append(
            Kernel(
                f"{name}.{projection}",
                "attention",
                kernel[rows],
                None if bias is None else bias[rows],
                kind_is_known=True,
            )
        )
    return parts
