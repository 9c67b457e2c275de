"""Networks built twice, in Keras and in PyTorch, with the same weights.

The weights are carried over here by hand, and the tests check that both give the same answers, so
that the pairs are the same networks whatever the package says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import torch
from torch import nn

layers = keras.layers


@dataclass(frozen=True)
class Pair:
    """One network twice; `shape` is that of one input, channels last."""

    keras_model: Any
    torch_module: nn.Module
    shape: tuple[int, ...]


def randomise(model: Any, seed: int = 0) -> None:
    """Give every variable random values, running variances positive ones."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if str(variable.dtype) != "float32" or "seed" in variable.path:
            continue
        values = rng.normal(scale=0.4, size=variable.shape)
        if variable.name in ("moving_variance", "gamma"):
            values = rng.uniform(0.3, 2.0, size=variable.shape)
        variable.assign(values.astype(np.float32))


def numbers(variable: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(keras.ops.convert_to_numpy(variable)))


@torch.no_grad()
def copy_linear(layer: Any, module: Any) -> None:
    """Kernel and bias of a dense layer or an ordinary convolution."""
    kernel = numbers(layer.kernel)
    n = kernel.ndim
    module.weight.copy_(kernel.permute(n - 1, n - 2, *range(n - 2)))
    if module.bias is not None:
        module.bias.copy_(numbers(layer.bias))


@torch.no_grad()
def copy_depthwise(layer: Any, module: Any) -> None:
    kernel = numbers(layer.kernel)  # height, width, channels, multiplier
    height, width, channels, multiplier = kernel.shape
    module.weight.copy_(kernel.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width))
    if module.bias is not None:
        module.bias.copy_(numbers(layer.bias))


@torch.no_grad()
def copy_transposed(layer: Any, module: Any) -> None:
    module.weight.copy_(numbers(layer.kernel).permute(3, 2, 0, 1))  # height, width, out, in
    module.bias.copy_(numbers(layer.bias))


@torch.no_grad()
def copy_batch_norm(layer: Any, module: Any) -> None:
    module.running_mean.copy_(numbers(layer.moving_mean))
    module.running_var.copy_(numbers(layer.moving_variance))
    module.weight.copy_(numbers(layer.gamma))
    module.bias.copy_(numbers(layer.beta))


@torch.no_grad()
def copy_layer_norm(layer: Any, module: Any) -> None:
    module.weight.copy_(numbers(layer.gamma))
    module.bias.copy_(numbers(layer.beta))


class ToLast(nn.Module):
    """Channels first to channels last, so that flattening gives Keras's order."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.movedim(1, -1)


class GlobalPool(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


def paper_cnn() -> Pair:
    """Three convolutions of 16 filters, global average pooling, ten outputs: 4,970 parameters."""
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *(layers.Conv2D(16, 3, strides=2, activation="relu") for _ in range(3)),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )
    randomise(model)
    module = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, 2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, 2),
        nn.ReLU(),
        GlobalPool(),
        nn.Linear(16, 10),
    )
    for i in range(3):
        copy_linear(model.layers[i], module[2 * i])
    copy_linear(model.layers[-1], module[-1])
    return Pair(model, module, (28, 28, 1))


def mlp() -> Pair:
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(9, activation="tanh"),
            layers.Dense(9, use_bias=False),
            layers.Dense(3),
        ]
    )
    randomise(model)
    module = nn.Sequential(
        nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 9, bias=False), nn.Linear(9, 3)
    )
    for layer, linear in zip(model.layers, [module[0], module[2], module[3]], strict=True):
        copy_linear(layer, linear)
    return Pair(model, module, (12,))


def batch_norm_cnn(epsilon: float = 1e-3) -> Pair:
    """Convolutions with and without bias, each before a batch normalisation; then flattening."""
    model = keras.Sequential(
        [
            keras.Input((10, 10, 3)),
            layers.Conv2D(8, 3, use_bias=False),
            layers.BatchNormalization(epsilon=epsilon),
            layers.ReLU(),
            layers.Conv2D(6, 3),
            layers.BatchNormalization(epsilon=epsilon),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )
    randomise(model)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8, eps=epsilon),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3),
        nn.BatchNorm2d(6, eps=epsilon),
        nn.ReLU(),
        ToLast(),
        nn.Flatten(),
        nn.Linear(216, 5),
    )
    for i in (0, 3, 7):
        copy_linear(model.layers[i], module[i if i < 7 else 8])
    for i in (1, 4):
        copy_batch_norm(model.layers[i], module[i])
    return Pair(model, module, (10, 10, 3))


def depthwise_cnn() -> Pair:
    """Depthwise, separable, grouped and transposed convolutions."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(4, 3),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.SeparableConv2D(6, 3),
            layers.Conv2D(4, 1, groups=2),
            layers.Conv2DTranspose(3, 2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    randomise(model)
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.Conv2d(4, 8, 3, groups=4),
        nn.Conv2d(8, 8, 3, groups=8, bias=False),
        nn.Conv2d(8, 6, 1),
        nn.Conv2d(6, 4, 1, groups=2),
        nn.ConvTranspose2d(4, 3, 2),
        GlobalPool(),
        nn.Linear(3, 2),
    )
    conv, depthwise, separable, grouped, transposed, _, dense = model.layers
    copy_linear(conv, module[0])
    copy_depthwise(depthwise, module[1])
    with torch.no_grad():
        module[2].weight.copy_(numbers(separable.depthwise_kernel).permute(2, 3, 0, 1))
        module[3].weight.copy_(numbers(separable.pointwise_kernel).permute(3, 2, 0, 1))
        module[3].bias.copy_(numbers(separable.bias))
    copy_linear(grouped, module[4])
    copy_transposed(transposed, module[5])
    copy_linear(dense, module[7])
    return Pair(model, module, (8, 8, 2))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6, eps=1e-3)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(3, 6, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(6, eps=1e-3)
        self.bn_shortcut = nn.BatchNorm2d(6, eps=1e-3)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        y = torch.relu(y + self.bn_shortcut(self.shortcut(x)))
        return self.fc(y.mean(dim=(2, 3)))


def residual_cnn() -> Pair:
    """A residual block with a projection: Keras lists both branches' convolutions first."""
    inputs = keras.Input((7, 7, 3))
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="conv1")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="bn1")(x))
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="conv2")(x)
    x = layers.BatchNormalization(name="bn2")(x)
    y = layers.Conv2D(6, 1, use_bias=False, name="shortcut")(inputs)
    y = layers.BatchNormalization(name="bn_shortcut")(y)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Add()([x, y])))
    model = keras.Model(inputs, layers.Dense(4, name="fc")(x))
    randomise(model)
    module = Residual()
    for name in ("conv1", "conv2", "shortcut", "fc"):
        copy_linear(model.get_layer(name), getattr(module, name))
    for name in ("bn1", "bn2", "bn_shortcut"):
        copy_batch_norm(model.get_layer(name), getattr(module, name))
    return Pair(model, module, (7, 7, 3))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.token_embedding(x.long())).mean(dim=1))


@torch.no_grad()
def copy_attention(layer: Any, module: nn.MultiheadAttention) -> None:
    width = module.embed_dim
    for i, word in enumerate(("query", "key", "value")):
        dense = getattr(layer, f"{word}_dense")
        rows = slice(i * width, (i + 1) * width)
        module.in_proj_weight[rows] = numbers(dense.kernel).reshape(width, width).T
        module.in_proj_bias[rows] = numbers(dense.bias).reshape(-1)
    module.out_proj.weight.copy_(numbers(layer.output_dense.kernel).reshape(width, width).T)
    module.out_proj.bias.copy_(numbers(layer.output_dense.bias))


def transformer() -> Pair:
    inputs = keras.Input((5,))
    x = layers.Embedding(11, 8, name="token_embedding")(inputs)
    attention = layers.MultiHeadAttention(2, 4)
    norm1, norm2 = (layers.LayerNormalization(epsilon=1e-5) for _ in range(2))
    linear1, linear2, head = layers.Dense(16, activation="relu"), layers.Dense(8), layers.Dense(3)
    x = norm1(layers.Add()([x, attention(x, x)]))
    x = norm2(layers.Add()([x, linear2(linear1(x))]))
    model = keras.Model(inputs, head(layers.GlobalAveragePooling1D()(x)))
    randomise(model)
    module = Transformer()
    with torch.no_grad():
        module.token_embedding.weight.copy_(numbers(model.layers[1].embeddings))
    copy_attention(attention, module.block.self_attn)
    copy_linear(linear1, module.block.linear1)
    copy_linear(linear2, module.block.linear2)
    copy_layer_norm(norm1, module.block.norm1)
    copy_layer_norm(norm2, module.block.norm2)
    copy_linear(head, module.head)
    return Pair(model, module, (5,))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(10, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, _ = self.gru(self.lstm(x)[0])
        return self.head(x[:, -1])


@torch.no_grad()
def copy_recurrent(cell: Any, module: Any, suffix: str, gates: list[int]) -> None:
    """One direction; `gates` says at which place Keras keeps each of PyTorch's gates."""

    def in_order(variable: Any) -> torch.Tensor:
        pieces = torch.tensor_split(numbers(variable), len(gates), dim=-1)
        return torch.cat([pieces[gate] for gate in gates], dim=-1)

    getattr(module, f"weight_ih_{suffix}").copy_(in_order(cell.kernel).T)
    getattr(module, f"weight_hh_{suffix}").copy_(in_order(cell.recurrent_kernel).T)
    bias = in_order(cell.bias)
    bias_ih, bias_hh = (bias[0], bias[1]) if bias.ndim == 2 else (bias - 0.25, bias * 0 + 0.25)
    getattr(module, f"bias_ih_{suffix}").copy_(bias_ih)
    getattr(module, f"bias_hh_{suffix}").copy_(bias_hh)


def recurrent() -> Pair:
    model = keras.Sequential(
        [
            keras.Input((6, 3)),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
            layers.GRU(4),
            layers.Dense(2),
        ]
    )
    randomise(model)
    module = Recurrent()
    both, gru, head = model.layers
    copy_recurrent(both.forward_layer.cell, module.lstm, "l0", [0, 1, 2, 3])
    copy_recurrent(both.backward_layer.cell, module.lstm, "l0_reverse", [0, 1, 2, 3])
    copy_recurrent(gru.cell, module.gru, "l0", [1, 0, 2])
    copy_linear(head, module.head)
    return Pair(model, module, (6, 3))


PAIRS: dict[str, Callable[[], Pair]] = {
    "paper_cnn": paper_cnn,
    "mlp": mlp,
    "batch_norm_cnn": batch_norm_cnn,
    "depthwise_cnn": depthwise_cnn,
    "residual_cnn": residual_cnn,
    "transformer": transformer,
    "recurrent": recurrent,
}
