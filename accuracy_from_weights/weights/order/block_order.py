"""Blocks that PyTorch modules register in another order than that of the data.

`torch.nn.TransformerEncoderLayer` and `TransformerDecoderLayer` register all their normalisations
at the end, and so do the blocks of Llama and its kin. In that order the last linear layer would
be taken for what they all normalise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accuracy_from_weights.weights.found_layers import Kernel
from accuracy_from_weights.weights.layers import Path
from accuracy_from_weights.weights.order.chaining import Block

_BEFORE_PARTS = (
    ("input_layernorm", "self_attn", "post_attention_layernorm"),
    ("layernorm_before", "attention", "layernorm_after"),
)
"""Llama's and ViT's blocks: a normalisation, the attention, and a normalisation before the MLP."""


def registered_in_flow(blocks: Sequence[Block]) -> list[Block]:
    """Move the normalisations of known transformer blocks to where the data meets them."""
    by_path = {block.path: block for block in blocks}
    moved: dict[Path, Path] = {}
    for path in by_path:
        if path[-1:] == ("linear2",):
            moved.update(_after_each_part(path[:-1], by_path))
        for names in _BEFORE_PARTS:
            if path[-1:] == names[:1]:
                moved.update(_before_each_part(path[:-1], by_path, names))
    followers = {after: norm for norm, after in moved.items()}
    ordered: list[Block] = []
    for block in blocks:
        if block.path not in moved:
            ordered.append(block)
            if block.path in followers:
                ordered.append(by_path[followers[block.path]])
    return ordered


def _after_each_part(outer: Path, by_path: Mapping[Path, Block]) -> dict[Path, Path]:
    """Torch's own blocks: self-attention, norm1, (attention, norm2,) linear1, linear2, norm."""
    attentions = [
        (*outer, word, "out_proj")
        for word in ("self_attn", "multihead_attn")
        if (*outer, word, "out_proj") in by_path
    ]
    if not attentions or (*outer, "linear1") not in by_path:
        return {}
    anchors = [*attentions, (*outer, "linear2")]
    norms = [(*outer, f"norm{i + 1}") for i in range(len(anchors))]
    return {norm: after for norm, after in zip(norms, anchors, strict=True) if norm in by_path}


def _before_each_part(
    outer: Path, by_path: Mapping[Path, Block], names: tuple[str, str, str]
) -> dict[Path, Path]:
    """Return where the two normalisations of a pre-norm block belong.

    The first one comes after the last kernel before the block, the second one after the last
    layer of the attention.
    """
    first, part, second_name = names
    paths = list(by_path)
    inside = [i for i, path in enumerate(paths) if path[: len(outer)] == outer]
    moved: dict[Path, Path] = {}
    before = [path for path in paths[: inside[0]] if _has_kernel(by_path[path])]
    if before and paths[inside[0]] != (*outer, first):
        moved[(*outer, first)] = before[-1]
    attention = [paths[i] for i in inside if paths[i][: len(outer) + 1] == (*outer, part)]
    second = (*outer, second_name)
    if attention and second in by_path:
        moved[second] = attention[-1]
    return moved


def _has_kernel(block: Block) -> bool:
    return any(isinstance(part, Kernel) for part in block.parts)
