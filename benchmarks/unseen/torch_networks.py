"""Classifiers as users of PyTorch write them, with its default initialisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.unseen.runs import Configuration

Shape = tuple[int, ...]


class Net(nn.Module):
    """Two convolutions and two dense layers, as in PyTorch's example for MNIST, at half width."""

    def __init__(self, shape: Shape, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(shape[0], 16, 3)
        self.conv2 = nn.Conv2d(16, 32, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        side = (shape[1] - 4) // 2
        self.fc1 = nn.Linear(32 * side * side, 64)
        self.fc2 = nn.Linear(64, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x))
        x = self.dropout1(functional.max_pool2d(x, 2)).flatten(1)
        x = self.dropout2(functional.relu(self.fc1(x)))
        return self.fc2(x)


def lenet(shape: Shape, outputs: int) -> nn.Module:
    """Build a plain Sequential without normalisation or dropout."""
    side = shape[1] // 4
    return nn.Sequential(
        nn.Conv2d(shape[0], 8, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * side * side, 84),
        nn.ReLU(),
        nn.Linear(84, outputs),
    )


def cnn_bn(shape: Shape, outputs: int) -> nn.Module:
    """Build three blocks of convolution, batch normalisation, ReLU and pooling."""
    layers: list[nn.Module] = []
    before = shape[0]
    for width in (16, 32, 64):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
        before = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(before, outputs)
    )


class BasicBlock(nn.Module):
    """Two convolutions and a way around them, as in torchvision."""

    def __init__(self, inplanes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return features."""
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + identity)


class ResNet(nn.Module):
    """Three blocks of 16, 32 and 64 channels."""

    def __init__(self, shape: Shape, outputs: int) -> None:
        super().__init__()
        stride = 2 if shape[1] > 16 else 1
        self.conv1 = nn.Conv2d(shape[0], 16, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = BasicBlock(16, 16, 1)
        self.layer2 = BasicBlock(16, 32, 2)
        self.layer3 = BasicBlock(32, 64, 2)
        self.fc = nn.Linear(64, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean(dim=(2, 3)))


class ViT(nn.Module):
    """Patches, a class token, learned positions and two pre-norm blocks."""

    def __init__(self, shape: Shape, outputs: int) -> None:
        super().__init__()
        width, patch = 48, max(shape[1] // 4, 2)
        self.patches = nn.Conv2d(shape[0], width, patch, patch)
        n = (shape[1] // patch) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embedding = nn.Parameter(torch.randn(1, n + 1, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, 4, 96, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embedding
        return self.head(self.norm(self.encoder(x)[:, 0]))


class MLP(nn.Module):
    """Two hidden layers, with batch normalisation and dropout or without."""

    def __init__(self, shape: Shape, outputs: int, hidden: int = 64, modern: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()] if len(shape) > 1 else []
        before = 1
        for length in shape:
            before *= length
        for width in (hidden, hidden // 2):
            layers.append(nn.Linear(before, width))
            if modern:
                layers.append(nn.BatchNorm1d(width))
            layers.append(nn.ReLU())
            if modern:
                layers.append(nn.Dropout(0.3))
            before = width
        self.layers = nn.Sequential(*layers, nn.Linear(before, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.layers(x)


def mlp(shape: Shape, outputs: int) -> nn.Module:
    """Build a plain MLP."""
    return MLP(shape, outputs)


def mlp_bn(shape: Shape, outputs: int) -> nn.Module:
    """Build an MLP with batch normalisation and dropout."""
    return MLP(shape, outputs, 128, modern=True)


class Recurrent(nn.Module):
    """Embedding, LSTM or GRU, and the last state."""

    def __init__(self, vocabulary: int, outputs: int, cell: str = "LSTM") -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 32)
        self.rnn = getattr(nn, cell)(32, 48, batch_first=True)
        self.fc = nn.Linear(48, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits."""
        _, state = self.rnn(self.embedding(tokens))
        hidden = state[0] if isinstance(state, tuple) else state
        return self.fc(hidden[-1])


class BagOfWords(nn.Module):
    """EmbeddingBag and a dense layer, as in PyTorch's tutorial on text classification."""

    def __init__(self, vocabulary: int, outputs: int) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocabulary, 32)
        self.fc = nn.Linear(32, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits."""
        return self.fc(self.embedding(tokens))


class TextTransformer(nn.Module):
    """Embeddings of tokens and places, two post-norm blocks, and their mean."""

    def __init__(self, vocabulary: int, outputs: int, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 32)
        self.position = nn.Embedding(length, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.fc = nn.Linear(32, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embedding(tokens) + self.position(places)
        return self.fc(self.encoder(x).mean(dim=1))


class Searched(nn.Module):
    """Hidden layers of one width, dense or convolutional as the kind of input asks, and a head."""

    def __init__(
        self, kind: str, shape: Shape, outputs: int, vocabulary: int, chosen: Configuration
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, chosen.width) if vocabulary else None
        before = chosen.width if vocabulary else shape[0]
        layers: list[nn.Module] = []
        for depth in range(chosen.depth):
            if kind == "table":
                layers.append(nn.Linear(before, chosen.width))
            elif kind == "image":
                layers.append(nn.Conv2d(before, chosen.width, 3, padding=1))
            else:
                layers.append(nn.Conv1d(before, chosen.width, 3, padding=1))
            if chosen.is_normalised:
                norm = nn.BatchNorm2d if kind == "image" else nn.BatchNorm1d
                layers.append(norm(chosen.width))
            layers.append(nn.ReLU())
            if kind != "table" and depth < 2:
                layers.append(nn.MaxPool2d(2) if kind == "image" else nn.MaxPool1d(2))
            layers.append(nn.Dropout(chosen.dropout))
            before = chosen.width
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(chosen.width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        if self.embedding is not None:
            x = self.embedding(x).transpose(1, 2)
        x = self.hidden(x)
        if x.ndim > 2:
            x = x.flatten(2).amax(dim=2)
        return self.head(x)


class SignalNet(nn.Module):
    """Two one-dimensional convolutions with batch normalisation."""

    def __init__(self, shape: Shape, outputs: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(shape[0], 16, 7, padding=3),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 5, padding=2),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(1),
        )
        self.classifier = nn.Linear(32, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.classifier(self.features(x).flatten(1))


NETWORKS: dict[str, Callable[[Shape, int, int], nn.Module]] = {
    "cnn": lambda shape, outputs, _: Net(shape, outputs),
    "lenet": lambda shape, outputs, _: lenet(shape, outputs),
    "cnn_bn": lambda shape, outputs, _: cnn_bn(shape, outputs),
    "resnet": lambda shape, outputs, _: ResNet(shape, outputs),
    "vit": lambda shape, outputs, _: ViT(shape, outputs),
    "mlp": lambda shape, outputs, _: mlp(shape, outputs),
    "mlp_bn": lambda shape, outputs, _: mlp_bn(shape, outputs),
    "lstm": lambda _, outputs, vocabulary: Recurrent(vocabulary, outputs),
    "gru": lambda _, outputs, vocabulary: Recurrent(vocabulary, outputs, "GRU"),
    "embedding_bag": lambda _, outputs, vocabulary: BagOfWords(vocabulary, outputs),
    "transformer": lambda shape, outputs, vocabulary: TextTransformer(
        vocabulary, outputs, shape[0]
    ),
    "conv1d": lambda shape, outputs, _: SignalNet(shape, outputs),
}
"""Builds each network for the shape of an input, a number of outputs and a vocabulary."""
