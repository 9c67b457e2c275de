"""PyTorch's naming convention: groups of tensors of one module become kernels and normalisations.

Kernels are named ``weight`` and laid out as (out, in, *spatial). A state dict does not say which
module a tensor comes from; names and shapes decide, and a module that is at hand adds `Hint`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from accuracy_from_weights.weights.found_layers import TORCH_EPSILON, Kernel, Normalisation, Part
from accuracy_from_weights.weights.layers import Array, Path
from accuracy_from_weights.weights.naming.recurrent import recurrent_kernels

_RECURRENT = re.compile(r"weight_ih(?P<layer>(?:_l\d+)?(?:_reverse)?)")
_KERNEL = re.compile(r"weights?|w\d*|.*_weights?|weight_\d+|filters?", re.IGNORECASE)
_EMBEDDING = re.compile(
    r"(?:.*_)?(?:embed|embeds|embedding|embeddings|emb)|embed_\w+|w[tp]e|\w+_embedding_table"
)
_SCALE_ALONE = re.compile(r"norm|ln|rms|bn|gamma|scale|^\d+$|^$", re.IGNORECASE)
_TRANSPOSED = re.compile(r"transpose|deconv|upconv|convt|up_?sample", re.IGNORECASE)

_PROJECTIONS = ("query", "key", "value")

_PROJECTION = re.compile(
    r"(?:[qkvo]|query|key|value|out)(?:_proj|_dense|_lin)?|to_(?:q|k|v|out)|attention_output|"
    r"output_dense"
)
_FUSED = re.compile(r"qkv(?:_proj)?|wqkv|to_qkv|c_attn|in_proj|query_key_value", re.IGNORECASE)
_ATTENTION = re.compile(r"att(?:n|ention)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Hint:
    """What a module knows of itself and a state dict does not hold.

    Attributes
    ----------
    kind : str or None
        The layer's kind, where it is known.
    groups : int
        Of a transposed convolution.
    epsilon : float
        Of a batch normalisation.
    is_transposed : bool
        A linear layer whose weight is laid out as (in, out).
    is_ignored : bool
        Parameters that are neither a kernel nor a normalisation, such as PReLU's slopes.
    """

    kind: str | None = None
    groups: int = 1
    epsilon: float = TORCH_EPSILON
    is_transposed: bool = False
    is_ignored: bool = False


def parts_of_torch_group(path: Path, tensors: Mapping[str, Array], hint: Hint) -> list[Part]:
    """Return the parts of one module's own tensors, each of at least one axis and one value."""
    if hint.is_ignored:
        return []
    name = ".".join(path)
    if "running_mean" in tensors or "running_var" in tensors:
        return _batch_normalisation(name, tensors, hint)
    if "in_proj_weight" in tensors or "q_proj_weight" in tensors:
        return list(_multihead_attention(name, tensors))
    if any(_RECURRENT.fullmatch(leaf) for leaf in tensors):
        return list(_recurrent(name, tensors))
    parts: list[Part] = []
    for leaf, tensor in tensors.items():
        bias = tensors.get("bias") if leaf == "weight" else tensors.get(_bias_name(leaf))
        if leaf in ("weight", "gamma") and (
            tensor.ndim == 1 or (bias is not None and bias.shape == tensor.shape)
        ):
            parts.extend(_normalisation(path, tensor, bias))
        elif tensor.ndim >= 2 and leaf != "bias" and _KERNEL.fullmatch(leaf):
            parts.extend(_kernels(path, leaf, tensor, bias, hint))
        elif tensor.ndim >= 2 and _EMBEDDING.fullmatch(leaf):
            kernel = tensor.reshape(-1, tensor.shape[-1]).T
            parts.append(Kernel(f"{name}.{leaf}", "embedding", kernel, kind_is_known=True))
    return parts


def _bias_name(leaf: str) -> str:
    """``w1`` -> ``b1``, ``up_weight`` -> ``up_bias``."""
    if leaf[:1] in ("w", "W") and not leaf.lower().startswith("weight"):
        return ("b" if leaf[0] == "w" else "B") + leaf[1:]
    return leaf.replace("weight", "bias")


def _batch_normalisation(name: str, tensors: Mapping[str, Array], hint: Hint) -> list[Part]:
    mean, variance = tensors.get("running_mean"), tensors.get("running_var")
    if mean is None or variance is None or mean.shape != variance.shape or mean.ndim != 1:
        return []
    scale, shift = tensors.get("weight"), tensors.get("bias")
    if any(affine is not None and affine.shape != mean.shape for affine in (scale, shift)):
        return []
    return [Normalisation(name, mean.size, scale, shift, mean, variance, hint.epsilon)]


def _normalisation(path: Path, scale: Array, shift: Array | None) -> list[Part]:
    # One value is no channel's scale but a learnt slope or temperature; more axes than one are
    # a layer normalisation over positions too, which belongs to no kernel.
    if scale.ndim != 1 or scale.size == 1:
        return []
    if shift is None and not _SCALE_ALONE.search("".join(path[-1:])):
        return []  # the weights of classes in a loss, slopes of activations
    if shift is not None and shift.shape != scale.shape:
        shift = None
    return [Normalisation(".".join(path), scale.size, scale, shift)]


def _multihead_attention(name: str, tensors: Mapping[str, Array]) -> list[Kernel]:
    bias, fused = tensors.get("in_proj_bias"), tensors.get("in_proj_weight")
    if fused is not None:
        is_divisible = fused.ndim == 2 and fused.shape[0] % 3 == 0
        return _split_projections(name, fused, bias) if is_divisible else []
    biases: list[Array | None] = [None, None, None]
    if bias is not None and bias.ndim == 1 and bias.size % 3 == 0:
        biases = [*np.split(bias, 3)]
    parts = []
    for word, part in zip(_PROJECTIONS, biases, strict=True):
        kernel = tensors.get(f"{word[0]}_proj_weight")
        if kernel is not None and kernel.ndim == 2:
            parts.append(Kernel(f"{name}.{word}", "attention", kernel, part, True))
    return parts


def _recurrent(name: str, tensors: Mapping[str, Array]) -> list[Kernel]:
    parts: list[Kernel] = []
    for leaf, kernel in tensors.items():
        match = _RECURRENT.fullmatch(leaf)
        if match is None or kernel.ndim != 2:
            continue
        layer = match["layer"]
        recurrent_kernel = tensors.get(f"weight_hh{layer}")
        if recurrent_kernel is None or recurrent_kernel.ndim != 2:
            continue
        biases = tensors.get(f"bias_ih{layer}"), tensors.get(f"bias_hh{layer}")
        parts.extend(recurrent_kernels(f"{name}{layer}", kernel, recurrent_kernel, *biases))
        projection = tensors.get(f"weight_hr{layer}")
        if projection is not None and projection.ndim == 2:
            parts.append(Kernel(f"{name}{layer}.projection", "recurrent", projection, None, True))
    return parts


def _kernels(path: Path, leaf: str, kernel: Array, bias: Array | None, hint: Hint) -> list[Kernel]:
    name = ".".join(path) if leaf == "weight" else ".".join((*path, leaf))
    if hint.kind == "embedding" or (hint.kind is None and _is_embedding(path, kernel, bias)):
        return [Kernel(name, "embedding", kernel.T, kind_is_known=True)]
    if hint.is_transposed or _is_stored_transposed(path, kernel, bias, hint):
        kernel = _swapped(kernel, hint.groups)
        kind = "dense" if kernel.ndim == 2 else "transposed_conv"
        hint = Hint(kind=kind)
    kind = hint.kind or ("dense" if kernel.ndim == 2 else "conv")
    if kind == "dense" and _is_projection(path):
        if _is_fused(path) and kernel.shape[0] == 3 * kernel.shape[1]:
            return _split_projections(name, kernel, bias)
        kind = "attention"
    return [Kernel(name, kind, kernel, bias, kind_is_known=hint.kind is not None)]


def _is_embedding(path: Path, kernel: Array, bias: Array | None) -> bool:
    is_named = bool(path) and _EMBEDDING.fullmatch(path[-1].lower()) is not None
    return is_named and kernel.ndim == 2 and bias is None


def _is_stored_transposed(path: Path, kernel: Array, bias: Array | None, hint: Hint) -> bool:
    """Return whether the weight is (in, out, ...): transposed convolutions, GPT-2's linears.

    A state dict does not say so. A bias that fits the second axis only does; without one the
    name has to, so that a transposed convolution without bias under a plain name is read as an
    ordinary one unless its module is given.
    """
    if hint.kind is not None:
        return hint.kind == "transposed_conv"
    if bias is not None and bias.ndim == 1 and bias.size != kernel.shape[0]:
        return bias.size == kernel.shape[1]
    return kernel.ndim > 2 and any(_TRANSPOSED.search(part) for part in path)


def _swapped(kernel: Array, groups: int) -> Array:
    """(in, out / groups, *spatial) -> (out, in / groups, *spatial)."""
    if groups == 1:
        return kernel.swapaxes(0, 1)
    inputs, outputs, *spatial = kernel.shape
    grouped = kernel.reshape(groups, inputs // groups, outputs, *spatial).swapaxes(1, 2)
    return grouped.reshape(groups * outputs, inputs // groups, *spatial)


def _is_projection(path: Path) -> bool:
    """Return whether a linear layer's name is that of one of attention's four projections.

    Names such as ``out`` are common elsewhere, so the name of a block above must say attention;
    only ``q_proj``, ``k_proj`` and ``v_proj`` speak for themselves.
    """
    if not path:
        return False
    if re.fullmatch(r"[qkv]_proj", path[-1]) or _is_fused(path):
        return True
    if path[-1].isdigit():  # Sequential(Linear, Dropout), as in to_out.0
        path = path[:-1]
    above = any(_ATTENTION.search(part) for part in path[:-1])
    return above and _PROJECTION.fullmatch(path[-1].lower()) is not None


def _is_fused(path: Path) -> bool:
    """Return whether the name is one that is used for query, key and value in one kernel."""
    return bool(path) and _FUSED.fullmatch(path[-1]) is not None


def _split_projections(name: str, kernel: Array, bias: Array | None) -> list[Kernel]:
    """Return three kernels, as views, of one of shape (3 * out, in) for query, key and value."""
    if bias is not None and bias.shape != kernel.shape[:1]:
        bias = None
    width = kernel.shape[0] // 3
    parts = []
    for i, word in enumerate(_PROJECTIONS):
        rows = slice(i * width, (i + 1) * width)
        own = None if bias is None else bias[rows]
        parts.append(Kernel(f"{name}.{word}", "attention", kernel[rows], own, kind_is_known=True))
    return parts
