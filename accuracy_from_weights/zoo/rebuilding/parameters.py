"""Names, shapes and initial values of an architecture's parameters, the same for all backends."""

from __future__ import annotations

from collections.abc import Iterator

from accuracy_from_weights.zoo.recipes.architecture import Architecture

Shapes = Iterator[tuple[str, tuple[int, ...]]]

POSITION = "position"
_POSITION_STD = 0.02


def is_kernel(name: str, shape: tuple[int, ...]) -> bool:
    """Whether L2 and weight decay apply to a parameter."""
    return len(shape) >= 2 and name != POSITION


def parameter_shapes(
    architecture: Architecture, channels: int, size: int, n_classes: int
) -> Shapes:
    """Yield names and shapes of all parameters, in the order of the PyTorch module.

    Parameters
    ----------
    architecture : Architecture
    channels, size : int
        Of the images.
    n_classes : int

    Yields
    ------
    name : str
        As in the PyTorch state dict.
    shape : tuple of int
        Kernels are (out, in, *spatial).
    """
    features = channels * size * size
    if architecture.kind == "vit":
        yield from _transformer(architecture, channels, size)
        features = architecture.widths[0]
    elif architecture.kind == "mlp":
        for i, width in enumerate(architecture.widths):
            yield from _kernel(f"blocks.{i}.dense", width, features)
            yield from _norm(f"blocks.{i}.norm", architecture, width)
            features = width
    else:
        yield from _convolutions(architecture, channels)
        features = architecture.widths[-1]
        if architecture.head == "flatten":
            features *= architecture.sizes(size)[-1] ** 2
    yield from _kernel("head", n_classes, features)


def _kernel(name: str, out: int, inner: int, *spatial: int) -> Shapes:
    yield f"{name}.weight", (out, inner, *spatial)
    yield f"{name}.bias", (out,)


def _norm(name: str, architecture: Architecture, width: int) -> Shapes:
    if architecture.normalisation != "none":
        yield f"{name}.weight", (width,)
        yield f"{name}.bias", (width,)


def _transformer(architecture: Architecture, channels: int, size: int) -> Shapes:
    width, patch = architecture.widths[0], architecture.patch_size
    hidden = round(width * architecture.mlp_ratio)
    yield POSITION, (1, (size // patch) ** 2, width)
    yield from _kernel("patches", width, channels, patch, patch)
    for i in range(len(architecture.widths)):
        block = f"blocks.{i}"
        yield from _norm(f"{block}.norm1", architecture, width)
        for part in ("query", "key", "value", "project"):
            yield from _kernel(f"{block}.{part}", width, width)
        yield from _norm(f"{block}.norm2", architecture, width)
        yield from _kernel(f"{block}.expand", hidden, width)
        yield from _kernel(f"{block}.contract", width, hidden)
    yield from _norm("norm", architecture, width)


def _convolutions(architecture: Architecture, depth: int) -> Shapes:
    side = architecture.kernel_size
    for i, (width, stride) in enumerate(
        zip(architecture.widths, architecture.strides, strict=True)
    ):
        block = f"blocks.{i}"
        if i == 0 or architecture.kind == "cnn":
            yield from _kernel(f"{block}.conv", width, depth, side, side)
            yield from _norm(f"{block}.norm", architecture, width)
        elif architecture.kind == "resnet":
            yield from _kernel(f"{block}.conv1", width, depth, side, side)
            yield from _norm(f"{block}.norm1", architecture, width)
            yield from _kernel(f"{block}.conv2", width, width, side, side)
            yield from _norm(f"{block}.norm2", architecture, width)
            if has_shortcut(architecture, depth, width, stride):
                yield from _kernel(f"{block}.shortcut", width, depth, 1, 1)
        else:
            yield from _kernel(f"{block}.depthwise", depth, 1, side, side)
            yield from _kernel(f"{block}.pointwise", width, depth, 1, 1)
            yield from _norm(f"{block}.norm", architecture, width)
        depth = width


def has_shortcut(architecture: Architecture, depth: int, width: int, stride: int) -> bool:
    """Whether a residual block needs a convolution on the way around it."""
    return depth != width or (stride > 1 and architecture.pooling == "none")


def norm_groups(channels: int) -> int:
    """Give the number of groups of a group normalisation."""
    return next(groups for groups in (4, 2, 1) if channels % groups == 0)
