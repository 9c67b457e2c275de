"""The PyTorch module of any recipe's architecture, for images, tables, tokens and signals."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from accuracy_from_weights.zoo.rebuilding.torch_recurrence import RecurrentLayer
from accuracy_from_weights.zoo.recipes.architecture import Architecture, InputForm, norm_groups

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
}
_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
_MAX_POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
_AVERAGE_POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d}

_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "tanh": torch.tanh_,
    "silu": functools.partial(nn.functional.silu, inplace=True),
}
# A maximum's value is the maximum of the values, so that pooling may come first.
_RISING = ("relu", "tanh")

# Returns the factors, 0 or 1 / (1 - rate), that dropout multiplies values of a shape with.
DropoutMask = Callable[[torch.Size], Tensor]


class _Block(nn.Module):
    """Part of a network: its activation, its normalisations, and dropout from given masks."""

    def __init__(self, architecture: Architecture, dims: int) -> None:
        super().__init__()
        self.mask: DropoutMask | None = None
        self.activation = _ACTIVATIONS[architecture.activation]
        self._architecture = architecture
        self._dims = dims

    def only_evaluate(self) -> None:
        """Compute the same in less time and memory, without gradients from now on."""
        self.activation = _IN_PLACE.get(self._architecture.activation, self.activation)

    def drop(self, x: Tensor) -> Tensor:
        return x if self.mask is None else x * self.mask(x.shape)

    def _normalisation(self, channels: int) -> nn.Module:
        """Build the normalisation of a layer of ``channels`` filters or units."""
        a = self._architecture
        if a.normalisation == "batch":
            kind = nn.BatchNorm2d if self._dims == 2 else nn.BatchNorm1d
            return kind(channels, eps=a.epsilon, momentum=a.momentum)
        if a.normalisation == "layer":
            # Over an image's channels and places, which group normalisation does with one group.
            return nn.GroupNorm(1, channels) if self._dims else nn.LayerNorm(channels)
        if a.normalisation == "group":
            return nn.GroupNorm(norm_groups(channels), channels)
        return nn.Identity()

    def _activated(self, norm: nn.Module, x: Tensor) -> Tensor:
        """Normalise and activate in the architecture's order."""
        if self._architecture.activation_first:
            normalised: Tensor = norm(self.activation(x))
            return normalised
        return self.activation(norm(x))


class _Convolutions(_Block):
    """Part of a convolutional network: the strides, the padding and the pooling of a block."""

    def __init__(self, a: Architecture, dims: int, stride: int) -> None:
        super().__init__(a, dims)
        self._step = 1 if a.pooling != "none" else stride
        self._pad = a.kernel_size // 2 if a.padding == "same" else 0
        self.pool: nn.Module = nn.Identity()
        if stride > 1 and a.pooling != "none":
            self.pool = (_MAX_POOLS if a.pooling == "max" else _AVERAGE_POOLS)[dims](2)


class _ConvolutionBlock(_Convolutions):
    """Convolution, normalisation and activation, pooling, dropout."""

    def __init__(self, a: Architecture, dims: int, depth: int, width: int, stride: int) -> None:
        super().__init__(a, dims, stride)
        kind, side = _CONVOLUTIONS[dims], a.kernel_size
        self.conv = kind(depth, width, side, self._step, self._pad, bias=a.has_bias)
        self.norm = self._normalisation(width)

    def only_evaluate(self) -> None:
        super().only_evaluate()
        a = self._architecture
        if a.pooling == "max" and a.activation in _RISING and not a.activation_first:
            self.norm, self.pool = nn.Sequential(self.norm, self.pool), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.pool(self._activated(self.norm, self.conv(x))))


class _DenseBlock(_Block):
    """Dense layer, normalisation and activation, dropout."""

    def __init__(self, a: Architecture, features: int, width: int) -> None:
        super().__init__(a, 0)
        self.dense = nn.Linear(features, width, bias=a.has_bias)
        self.norm = self._normalisation(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self._activated(self.norm, self.dense(x)))


class _ResidualBlock(_Convolutions):
    """Two convolutions with a skip connection, a 1 by 1 convolution where the shapes differ."""

    def __init__(self, a: Architecture, dims: int, depth: int, width: int, stride: int) -> None:
        super().__init__(a, dims, stride)
        side, kind = a.kernel_size, _CONVOLUTIONS[dims]
        self.conv1 = kind(depth, width, side, self._step, side // 2, bias=a.has_bias)
        self.norm1 = self._normalisation(width)
        self.conv2 = kind(width, width, side, 1, side // 2, bias=a.has_bias)
        self.norm2 = self._normalisation(width)
        self.shortcut: nn.Module = nn.Identity()
        if a.has_shortcut(depth, width, stride):
            self.shortcut = kind(depth, width, 1, self._step)

    def forward(self, x: Tensor) -> Tensor:
        inner = self._activated(self.norm1, self.conv1(x))
        inner = self.norm2(self.conv2(inner)) + self.shortcut(x)
        return self.drop(self.pool(self.activation(inner)))


class _SeparableBlock(_Convolutions):
    """A depthwise convolution, then a 1 by 1 convolution across channels."""

    def __init__(self, a: Architecture, dims: int, depth: int, width: int, stride: int) -> None:
        super().__init__(a, dims, stride)
        kind, side = _CONVOLUTIONS[dims], a.kernel_size
        self.depthwise = kind(depth, depth, side, self._step, self._pad, groups=depth)
        self.pointwise = kind(depth, width, 1, bias=a.has_bias)
        self.norm = self._normalisation(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self._activated(self.norm, self.pointwise(self.depthwise(x)))
        return self.drop(self.pool(x))


class _TransformerBlock(_Block):
    """Attention and two dense layers, both behind layer normalisation with a skip connection."""

    def __init__(self, a: Architecture) -> None:
        super().__init__(a, 0)
        width = a.widths[0]
        hidden = round(width * a.mlp_ratio)
        self.heads = a.heads
        self.norm1 = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        queries, keys, values = (self._split(f(y)) for f in (self.query, self.key, self.value))
        scores = queries @ keys.mT * queries.shape[-1] ** -0.5
        mixed = (scores.softmax(-1) @ values).transpose(1, 2).flatten(2)
        x = x + self.drop(self.project(mixed))
        return x + self.drop(self.contract(self.activation(self.expand(self.norm2(x)))))


class _RecurrentBlock(_Block):
    """A recurrent layer over the whole sequence, then dropout."""

    def __init__(self, a: Architecture, features: int, width: int) -> None:
        super().__init__(a, 0)
        self.rnn = RecurrentLayer(a.kind, features, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.rnn(x))


class PlainModule(nn.Module):
    """The network that an architecture describes; returns logits of shape (n, n_classes).

    Parameters
    ----------
    architecture : Architecture
    inputs : InputForm
        The network takes a batch of these: (n, *inputs.shape).
    n_classes : int
    """

    def __init__(self, architecture: Architecture, inputs: InputForm, n_classes: int) -> None:
        super().__init__()
        a = architecture
        self._kind, self._head, self._form = a.kind, a.head, inputs
        shape, dims = inputs.shape, inputs.dims
        # The state dict lists layers in the order in which they are made here, that of the data.
        if inputs.kind == "tokens":
            width = a.widths[0] if a.kind == "vit" else a.embedding
            self.embedding = nn.Embedding(inputs.vocabulary, width)
            shape = (width, *shape)
        elif a.kind == "vit":
            patch = a.patch_size
            self.patches = _CONVOLUTIONS[dims](shape[0], a.widths[0], patch, patch)
        self.blocks = nn.ModuleList()
        if a.kind == "vit":
            features = self._build_transformer(a, inputs)
        elif a.kind == "mlp":
            features = shape[0] if inputs.kind == "tokens" else math.prod(shape)
            features = self._build_dense(self.blocks, a, features, a.widths)
        elif a.is_convolutional:
            features = self._build_convolutions(a, dims, shape[0])
            if a.head == "flatten":
                features *= a.sizes(shape[-1])[-1] ** dims
        else:
            features = shape[0]
            for width in a.widths:
                self.blocks.append(_RecurrentBlock(a, features, width))
                features = width
        self.dense = nn.ModuleList()
        features = self._build_dense(self.dense, a, features, a.dense)
        self.head = nn.Linear(features, n_classes)

    def _build_transformer(self, a: Architecture, inputs: InputForm) -> int:
        width = a.widths[0]
        places = inputs.shape[-1] // (1 if inputs.kind == "tokens" else a.patch_size)
        self.position = nn.Parameter(torch.zeros(1, places**inputs.dims, width))
        for _ in a.widths:
            self.blocks.append(_TransformerBlock(a))
        self.norm = nn.LayerNorm(width)
        return width

    @staticmethod
    def _build_dense(
        blocks: nn.ModuleList, a: Architecture, features: int, widths: tuple[int, ...]
    ) -> int:
        for width in widths:
            blocks.append(_DenseBlock(a, features, width))
            features = width
        return features

    def _build_convolutions(self, a: Architecture, dims: int, depth: int) -> int:
        others = {
            "cnn": _ConvolutionBlock,
            "resnet": _ResidualBlock,
            "separable": _SeparableBlock,
        }
        for i, (width, stride) in enumerate(zip(a.widths, a.strides, strict=True)):
            kind = _ConvolutionBlock if i == 0 else others[a.kind]
            self.blocks.append(kind(a, dims, depth, width, stride))
            depth = width
        return depth

    def set_dropout(self, mask: DropoutMask | None) -> None:
        """Take dropout's masks from ``mask``; None switches dropout off."""
        for block in (*self.blocks, *self.dense):
            block.mask = mask

    def only_evaluate(self) -> None:
        """Compute the same in less time and memory, without gradients from now on."""
        for block in (*self.blocks, *self.dense):
            block.only_evaluate()

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits of shape (n, n_classes) of inputs (n, *shape)."""
        is_tokens = self._form.kind == "tokens"
        sequence = self._kind in ("vit", "lstm", "gru")
        if is_tokens:
            x = self.embedding(x)
            if self._kind == "mlp":
                x = x.mean(1)
            elif not sequence:
                x = x.mT
        elif self._kind == "vit":
            x = self.patches(x).flatten(2).mT
        elif self._kind == "mlp":
            x = x.flatten(1)
        elif sequence:
            x = x.mT
        if self._kind == "vit":
            x = x + self.position
        for block in self.blocks:
            x = block(x)
        x = self._summarised(x)
        for block in self.dense:
            x = block(x)
        logits: Tensor = self.head(x)
        return logits

    def _summarised(self, x: Tensor) -> Tensor:
        """Reduce the last block's values to one vector of features for each input."""
        if self._kind == "mlp":
            return x
        if self._kind == "vit":
            x = self.norm(x)
        if self._kind in ("vit", "lstm", "gru"):
            x = x.mT
        if self._head == "last":
            return x[..., -1]
        if self._head == "flatten":
            return x.flatten(1)
        return x.flatten(2).amax(2) if self._head == "max" else x.flatten(2).mean(2)
