"""What a PyTorch module takes as its input, told by its first layer."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.features.input_spec import USUAL_STEPS, USUAL_TOKENS, InputSpec

_FIRST = (
    nn.Embedding, nn.EmbeddingBag, nn.RNNBase, nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d,
    nn.ConvTranspose2d, nn.Bilinear,
)  # fmt: skip
_BESIDE_TOKENS = re.compile(r"pos|type|segment", re.IGNORECASE)
# So many times the width of the embedding, a dense layer reads a flattened sequence.
_FLATTENED = 5


def input_spec_of_module(module: nn.Module, shape: tuple[int, ...] | None) -> InputSpec:
    """Find out what a module takes: images, rows of a table, signals or tokens.

    Parameters
    ----------
    module : torch.nn.Module
    shape : tuple of int or None
        Of one input, without the batch axis, where it is known. Without it a module that begins
        with an embedding, a dense, a recurrent or a one-dimensional convolutional layer tells
        enough.

    Raises
    ------
    UnsupportedModelError
        When the shape is needed and not known, or the module takes inputs of another kind.
    """
    first = _first_layer(module)
    name = type(module).__name__
    if isinstance(first, nn.Embedding | nn.EmbeddingBag):
        length = (_n_tokens(module, first),) if shape is None else shape
        return InputSpec("tokens", length, first.num_embeddings)
    if isinstance(first, nn.Conv3d | nn.Bilinear):
        raise UnsupportedModelError(
            f"{name} begins with {type(first).__name__}, whose inputs are neither images, tables, "
            "signals nor tokens; use a predictor with features='weights'."
        )
    if shape is None:
        shape = _own_shape(module, first)
    # Steps before numbers, where the first layer reads the numbers of one step at a time.
    reads_steps = isinstance(first, nn.RNNBase) or (
        isinstance(first, nn.Linear) and first.in_features == shape[-1]
    )
    return InputSpec.of_shape(
        shape,
        channels_last=len(shape) == 2 and reads_steps,
        plain_axes=isinstance(first, nn.Linear) and not reads_steps,
    )


def _first_layer(module: nn.Module) -> nn.Module | None:
    """Return the first layer with weights, in the order of registration."""
    named = [
        (name, part)
        for name, part in module.named_modules()
        if isinstance(part, _FIRST)
        and not (isinstance(part, nn.Embedding) and _BESIDE_TOKENS.search(name))
    ]
    return named[0][1] if named else None


def _own_shape(module: nn.Module, first: nn.Module | None) -> tuple[int, ...]:
    """Return the shape of an input, without the batch axis, from the module alone."""
    if isinstance(first, nn.Linear):
        is_sequence = any(isinstance(p, nn.MultiheadAttention) for p in module.modules())
        steps = (_positions(module, first.out_features) or USUAL_STEPS,) if is_sequence else ()
        return (*steps, first.in_features)
    if isinstance(first, nn.RNNBase):
        return USUAL_STEPS, first.input_size
    if isinstance(first, nn.Conv1d):
        return first.in_channels, USUAL_STEPS
    config: Any = getattr(module, "config", None)
    size = getattr(config, "image_size", None)
    if isinstance(first, nn.Conv2d) and isinstance(size, int):
        return first.in_channels, size, size
    raise UnsupportedModelError(
        f"{type(module).__name__} does not tell the shape of its inputs; pass `input_shape`, that "
        "of one input without the batch axis, such as input_shape=(3, 32, 32)."
    )


def _n_tokens(module: nn.Module, embedding: nn.Embedding | nn.EmbeddingBag) -> int:
    width = embedding.embedding_dim
    known = _positions(module, width)
    if known is not None:
        return known
    for part in module.modules():
        if isinstance(part, nn.Linear):
            times = part.in_features // width
            if part.in_features % width == 0 and times >= _FLATTENED:
                return times
            break
    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding) and "pos" in name.lower():
            return min(part.num_embeddings, USUAL_TOKENS)
    return USUAL_TOKENS


def _positions(module: nn.Module, width: int) -> int | None:
    """Return the length of a learned table of positions that is added as a whole."""
    for name, tensor in module.named_parameters():
        is_table = tensor.ndim == 2 or (tensor.ndim == 3 and 1 in tensor.shape[:2])
        owner = module.get_submodule(name.rpartition(".")[0])
        if isinstance(owner, nn.Embedding):
            continue
        if is_table and tensor.shape[-1] == width and "pos" in name.lower():
            return max(int(length) for length in tensor.shape[:-1])
    return None
