"""Networks of usual sizes, with the weights that PyTorch gives them, and images to train on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from accuracy_from_weights.zoo_training.training import ImageData


def random_images(n_train: int, n_test: int) -> ImageData:
    """Draw images of 28 by 28 pixels: training is as fast whatever they show."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(256, size=(n, 1, 28, 28), dtype=np.uint8), rng.integers(10, size=n)

    return ImageData("random", *draw(n_train), *draw(n_test), n_classes=10)


def paper_network() -> nn.Module:
    """Build the network of Unterthiner et al. (2020), for images of one channel: 4,970 weights."""
    layers: list[nn.Module] = []
    for depth in (1, 16, 16):
        layers += [nn.Conv2d(depth, 16, 3, 2), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


class Residual(nn.Module):
    """Convolutions with batch normalisation and a way around them (He et al. 2016)."""

    def __init__(self, channels: Sequence[int], kernels: Sequence[int], stride: int) -> None:
        super().__init__()
        strided = kernels.index(3)  # the first 3x3 convolution
        layers: list[nn.Module] = []
        pairs = zip(channels[:-1], channels[1:], kernels, strict=True)
        for k, (before, after, size) in enumerate(pairs):
            step = stride if k == strided else 1
            layers += [nn.Conv2d(before, after, size, step, size // 2, bias=False)]
            layers += [nn.BatchNorm2d(after), nn.ReLU()]
        self.block = nn.Sequential(*layers[:-1])
        self.around: nn.Module = nn.Identity()
        if stride > 1 or channels[0] != channels[-1]:
            shortcut = nn.Conv2d(channels[0], channels[-1], 1, stride, bias=False)
            self.around = nn.Sequential(shortcut, nn.BatchNorm2d(channels[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Give features of shape (n, channels, height, width)."""
        return (self.block(x) + self.around(x)).relu()


def _resnet(blocks: Sequence[int], bottleneck: bool) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)]
    layers += [nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = 64
    for stage, n_blocks in enumerate(blocks):
        width = 64 * 2**stage
        after = 4 * width if bottleneck else width
        for k in range(n_blocks):
            inside = (before, width, width, after) if bottleneck else (before, width, after)
            kernels = (1, 3, 1) if bottleneck else (3, 3)
            layers.append(Residual(inside, kernels, 2 if stage and not k else 1))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 1000))


def resnet18() -> nn.Module:
    """Build a ResNet-18: 11.7 million weights, images of 224 by 224 pixels."""
    return _resnet((2, 2, 2, 2), bottleneck=False)


def resnet50() -> nn.Module:
    """Build a ResNet-50: 25.6 million weights."""
    return _resnet((3, 4, 6, 3), bottleneck=True)


class Transformer(nn.Module):
    """An encoder of twelve pre-norm blocks that classifies texts: 109 million weights."""

    def __init__(self, tokens: int = 30_522, width: int = 768, length: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.position = nn.Embedding(length, width)
        block = nn.TransformerEncoderLayer(
            width, 12, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, 12, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        """Give logits of shape (n, 10) for tokens of shape (n, length)."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embedding(tokens) + self.position(places)
        logits: Tensor = self.head(self.norm(self.blocks(x)).mean(dim=1))
        return logits
