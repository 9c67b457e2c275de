"""A plain PyTorch module for any architecture of a recipe."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from accuracy_from_weights.zoo.rebuilding.parameters import has_shortcut, norm_groups
from accuracy_from_weights.zoo.recipes.architecture import Architecture

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
}

# Gives the factors, 0 or 1 / (1 - rate), that dropout multiplies values of a shape with.
DropoutMask = Callable[[torch.Size], Tensor]


def keep_all(_: torch.Size) -> Tensor:
    """Give a mask that removes nothing."""
    return torch.ones(())


class _WithDropout(nn.Module):
    """A module whose dropout takes its masks from outside, so that a seed decides them."""

    def __init__(self) -> None:
        super().__init__()
        self.mask: DropoutMask | None = None

    def drop(self, x: Tensor) -> Tensor:
        return x if self.mask is None else x * self.mask(x.shape).to(x.device)


def normalisation_layer(name: str, channels: int, spatial: bool) -> nn.Module:
    """Build the normalisation after a kernel of ``channels`` filters or units."""
    if name == "batch":
        kind = nn.BatchNorm2d if spatial else nn.BatchNorm1d
        return kind(channels)
    if name == "layer":
        # Over an image's channels and places, which group normalisation does with one group.
        return nn.GroupNorm(1, channels) if spatial else nn.LayerNorm(channels)
    if name == "group":
        return nn.GroupNorm(norm_groups(channels), channels)
    return nn.Identity()


class _ConvolutionBlock(_WithDropout):
    """Convolution, normalisation, activation, pooling, dropout."""

    def __init__(self, architecture: Architecture, depth: int, width: int, stride: int) -> None:
        super().__init__()
        side = architecture.kernel_size
        pad = side // 2 if architecture.padding == "same" else 0
        step = 1 if architecture.pooling != "none" else stride
        self.conv = nn.Conv2d(depth, width, side, step, pad)
        self.norm = normalisation_layer(architecture.normalisation, width, True)
        self.activation = _ACTIVATIONS[architecture.activation]
        self.pool = _pool(architecture, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.pool(self.activation(self.norm(self.conv(x)))))


class _DenseBlock(_WithDropout):
    """Dense layer, normalisation, activation, dropout."""

    def __init__(self, architecture: Architecture, features: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(features, width)
        self.norm = normalisation_layer(architecture.normalisation, width, False)
        self.activation = _ACTIVATIONS[architecture.activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.activation(self.norm(self.dense(x))))


class _ResidualBlock(_WithDropout):
    """Two convolutions and a way around them; a 1 by 1 convolution where the shapes differ."""

    def __init__(self, architecture: Architecture, depth: int, width: int, stride: int) -> None:
        super().__init__()
        side = architecture.kernel_size
        pad = side // 2
        step = 1 if architecture.pooling != "none" else stride
        self.conv1 = nn.Conv2d(depth, width, side, step, pad)
        self.norm1 = normalisation_layer(architecture.normalisation, width, True)
        self.conv2 = nn.Conv2d(width, width, side, 1, pad)
        self.norm2 = normalisation_layer(architecture.normalisation, width, True)
        self.activation = _ACTIVATIONS[architecture.activation]
        self.pool = _pool(architecture, stride)
        self.shortcut: nn.Module = nn.Identity()
        if has_shortcut(architecture, depth, width, stride):
            self.shortcut = nn.Conv2d(depth, width, 1, step)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.activation(self.norm1(self.conv1(x)))
        inner = self.norm2(self.conv2(inner)) + self.shortcut(x)
        return self.drop(self.pool(self.activation(inner)))


class _SeparableBlock(_WithDropout):
    """A depthwise convolution, then a 1 by 1 convolution across channels."""

    def __init__(self, architecture: Architecture, depth: int, width: int, stride: int) -> None:
        super().__init__()
        side = architecture.kernel_size
        pad = side // 2 if architecture.padding == "same" else 0
        step = 1 if architecture.pooling != "none" else stride
        self.depthwise = nn.Conv2d(depth, depth, side, step, pad, groups=depth)
        self.pointwise = nn.Conv2d(depth, width, 1)
        self.norm = normalisation_layer(architecture.normalisation, width, True)
        self.activation = _ACTIVATIONS[architecture.activation]
        self.pool = _pool(architecture, stride)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.pointwise(self.depthwise(x)))
        return self.drop(self.pool(self.activation(x)))


class _TransformerBlock(_WithDropout):
    """Attention and two dense layers, each after a layer normalisation and with a way around."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.widths[0]
        hidden = round(width * architecture.mlp_ratio)
        self.heads = architecture.heads
        self.norm1 = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.activation = _ACTIVATIONS[architecture.activation]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        queries, keys, values = (self._split(f(y)) for f in (self.query, self.key, self.value))
        scores = queries @ keys.mT * queries.shape[-1] ** -0.5
        mixed = (scores.softmax(-1) @ values).transpose(1, 2).flatten(2)
        x = x + self.drop(self.project(mixed))
        return x + self.drop(self.contract(self.activation(self.expand(self.norm2(x)))))


def _pool(architecture: Architecture, stride: int) -> nn.Module:
    if stride == 1 or architecture.pooling == "none":
        return nn.Identity()
    return nn.MaxPool2d(2) if architecture.pooling == "max" else nn.AvgPool2d(2)


class PlainModule(nn.Module):
    """The network that an architecture describes; gives logits of shape (n, n_classes).

    Parameters
    ----------
    architecture : Architecture
    channels, size : int
        Of the images, which have shape (n, channels, size, size).
    n_classes : int
    """

    def __init__(self, architecture: Architecture, channels: int, size: int, n_classes: int):
        super().__init__()
        self._flatten = architecture.head == "flatten"
        self._kind = architecture.kind
        # The state dict names layers in the order they are made here: the way of the data.
        if architecture.kind == "vit":
            self.patches = nn.Conv2d(
                channels, architecture.widths[0], architecture.patch_size, architecture.patch_size
            )
        self.blocks = nn.ModuleList()
        if architecture.kind == "vit":
            features = self._build_transformer(architecture, size)
        elif architecture.kind == "mlp":
            features = self._build_dense(architecture, channels * size * size)
        else:
            features = self._build_convolutions(architecture, channels)
            if self._flatten:
                features *= architecture.sizes(size)[-1] ** 2
        self.head = nn.Linear(features, n_classes)

    def _build_transformer(self, architecture: Architecture, size: int) -> int:
        width, patch = architecture.widths[0], architecture.patch_size
        self.position = nn.Parameter(torch.zeros(1, (size // patch) ** 2, width))
        for _ in architecture.widths:
            self.blocks.append(_TransformerBlock(architecture))
        self.norm = nn.LayerNorm(width)
        return width

    def _build_dense(self, architecture: Architecture, features: int) -> int:
        for width in architecture.widths:
            self.blocks.append(_DenseBlock(architecture, features, width))
            features = width
        return features

    def _build_convolutions(self, architecture: Architecture, depth: int) -> int:
        others = {
            "cnn": _ConvolutionBlock,
            "resnet": _ResidualBlock,
            "separable": _SeparableBlock,
        }
        pairs = zip(architecture.widths, architecture.strides, strict=True)
        for i, (width, stride) in enumerate(pairs):
            kind = _ConvolutionBlock if i == 0 else others[architecture.kind]
            self.blocks.append(kind(architecture, depth, width, stride))
            depth = width
        return depth

    def set_dropout(self, mask: DropoutMask | None) -> None:
        """Take dropout's masks from ``mask``; None switches dropout off."""
        for block in self.blocks:
            if isinstance(block, _WithDropout):
                block.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits of shape (n, n_classes) of images (n, channels, size, size)."""
        if self._kind == "mlp":
            x = x.flatten(1)
        elif self._kind == "vit":
            x = self.patches(x).flatten(2).mT + self.position
        for block in self.blocks:
            x = block(x)
        if self._kind == "vit":
            x = self.norm(x).mean(1)
        elif self._kind != "mlp":
            x = x.flatten(1) if self._flatten else x.mean((2, 3))
        logits: Tensor = self.head(x)
        return logits
