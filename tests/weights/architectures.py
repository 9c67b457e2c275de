"""Small networks with the names and the order of registration of well-known families."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def conv(n_in: int, n_out: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, size, bias=False)


class Bottleneck(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        width = n_out // 4
        self.conv1, self.bn1 = conv(n_in, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, n_out, 1), nn.BatchNorm2d(n_out)
        if n_in != n_out:
            self.downsample = nn.Sequential(conv(n_in, n_out, 1), nn.BatchNorm2d(n_out))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, 8, 7), nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(Bottleneck(8, 16), Bottleneck(16, 16))
        self.layer2 = nn.Sequential(Bottleneck(16, 32), Bottleneck(32, 32))
        self.fc = nn.Linear(32, 10)


class PreActivationBlock(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(n_in), conv(n_in, n_out)
        self.bn2, self.conv2 = nn.BatchNorm2d(n_out), conv(n_out, n_out)
        if n_in != n_out:
            self.shortcut = conv(n_in, n_out, 1)


class PreActivationResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv(3, 8)
        self.layer1 = nn.Sequential(PreActivationBlock(8, 8), PreActivationBlock(8, 8))
        self.layer2 = nn.Sequential(PreActivationBlock(8, 16), PreActivationBlock(16, 16))
        self.bn = nn.BatchNorm2d(16)
        self.linear = nn.Linear(16, 10)


class DenseLayer(nn.Module):
    def __init__(self, n_in: int, growth: int = 4) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(n_in), conv(n_in, 4 * growth, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), conv(4 * growth, growth)


class Transition(nn.Module):
    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(n_in), conv(n_in, n_in // 2, 1)


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", conv(3, 8, 7))
        self.features.add_module("norm0", nn.BatchNorm2d(8))
        channels = 8
        for i in range(2):
            block = nn.Sequential()
            for j in range(11):
                block.add_module(f"denselayer{j + 1}", DenseLayer(channels))
                channels += 4
            self.features.add_module(f"denseblock{i + 1}", block)
            if i == 0:
                self.features.add_module("transition1", Transition(channels))
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, 10)


class FusedAttention(nn.Module):
    def __init__(self, width: int, fused: str, out: str) -> None:
        super().__init__()
        self.add_module(fused, nn.Linear(width, 3 * width))
        self.add_module(out, nn.Linear(width, width))


class PreNormBlock(nn.Module):
    def __init__(
        self, width: int, norms: tuple[str, str], fused: str, mlp: tuple[str, str]
    ) -> None:
        super().__init__()
        self.add_module(norms[0], nn.LayerNorm(width))
        self.attn = FusedAttention(width, fused, "c_proj" if fused == "c_attn" else "proj")
        self.add_module(norms[1], nn.LayerNorm(width))
        self.mlp = nn.Sequential()
        self.mlp.add_module(mlp[0], nn.Linear(width, 4 * width))
        self.mlp.add_module(mlp[1], nn.Linear(4 * width, width))


class PatchEmbedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 4)


class VisionTransformer(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 10, width))
        self.patch_embed = PatchEmbedding(width)
        self.blocks = nn.Sequential(
            *(PreNormBlock(width, ("norm1", "norm2"), "qkv", ("fc1", "fc2")) for _ in range(11))
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 5)


class Gpt(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        block = [
            PreNormBlock(width, ("ln_1", "ln_2"), "c_attn", ("c_fc", "c_proj")) for _ in range(11)
        ]
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(50, width),
                "wpe": nn.Embedding(20, width),
                "h": nn.ModuleList(block),
                "ln_f": nn.LayerNorm(width),
            }
        )
        self.lm_head = nn.Linear(width, 50, bias=False)


class BertLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        projections = {word: nn.Linear(width, width) for word in ("query", "key", "value")}
        after = {"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width)}
        self.attention = nn.ModuleDict(
            {"self": nn.ModuleDict(projections), "output": nn.ModuleDict(after)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, 4 * width)})
        self.output = nn.ModuleDict(
            {"dense": nn.Linear(4 * width, width), "LayerNorm": nn.LayerNorm(width)}
        )


class Bert(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        embeddings = {
            "word_embeddings": nn.Embedding(50, width),
            "position_embeddings": nn.Embedding(20, width),
            "token_type_embeddings": nn.Embedding(2, width),
            "LayerNorm": nn.LayerNorm(width),
        }
        self.embeddings = nn.ModuleDict(embeddings)
        self.encoder = nn.ModuleDict(
            {"layer": nn.ModuleList([BertLayer(width) for _ in range(11)])}
        )
        self.classifier = nn.Linear(width, 3)


class LlamaLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()

        def linear(n_in: int, n_out: int) -> nn.Linear:
            return nn.Linear(n_in, n_out, bias=False)

        self.self_attn = nn.ModuleDict(
            {
                "q_proj": linear(width, width),
                "k_proj": linear(width, width // 2),
                "v_proj": linear(width, width // 2),
                "o_proj": linear(width, width),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": linear(width, 3 * width),
                "up_proj": linear(width, 3 * width),
                "down_proj": linear(3 * width, width),
            }
        )
        self.input_layernorm = nn.RMSNorm(width)
        self.post_attention_layernorm = nn.RMSNorm(width)


class Llama(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.model = nn.ModuleDict(
            {
                "embed_tokens": nn.Embedding(50, width),
                "layers": nn.ModuleList([LlamaLayer(width) for _ in range(11)]),
                "norm": nn.RMSNorm(width),
            }
        )
        self.lm_head = nn.Linear(width, 50, bias=False)


class ViTBlock(nn.Module):
    """Registered as in transformers' ViT: both normalisations at the end."""

    def __init__(self, width: int) -> None:
        super().__init__()
        projections = {word: nn.Linear(width, width) for word in ("query", "key", "value")}
        self.attention = nn.ModuleDict(
            {
                "attention": nn.ModuleDict(projections),
                "output": nn.ModuleDict({"dense": nn.Linear(width, width)}),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, 4 * width)})
        self.output = nn.ModuleDict({"dense": nn.Linear(4 * width, width)})
        self.layernorm_before = nn.LayerNorm(width)
        self.layernorm_after = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layernorm_before(x)
        query, key, value = (layer(y) for layer in self.attention.attention.values())
        y = torch.softmax(query @ key.transpose(1, 2), -1) @ value
        x = x + self.attention.output.dense(y)
        y = nn.functional.gelu(self.intermediate.dense(self.layernorm_after(x)))
        return x + self.output.dense(y)


class TransformersViT(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({"projection": nn.Conv2d(3, width, 4, 4)})
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList([ViTBlock(width) for _ in range(11)])})
        self.layernorm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embeddings.projection(x).flatten(2).transpose(1, 2)
        for block in self.encoder.layer:
            x = block(x)
        return self.classifier(self.layernorm(x).mean(1))


class Stage(nn.Module):
    """SegFormer's block: attention, and an MLP with a depthwise convolution inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer_norm_1 = nn.LayerNorm(width)
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict(
                    {word: nn.Linear(width, width) for word in ("query", "key", "value")}
                ),
                "output": nn.ModuleDict({"dense": nn.Linear(width, width)}),
            }
        )
        self.layer_norm_2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {
                "dense1": nn.Linear(width, 4 * width),
                "dwconv": nn.Conv1d(4 * width, 4 * width, 3, padding=1, groups=4 * width),
                "dense2": nn.Linear(4 * width, width),
            }
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer_norm_1(x)
        query, key, value = (layer(y) for layer in self.attention["self"].values())
        y = torch.softmax(query @ key.transpose(1, 2), -1) @ value
        x = x + self.attention.output.dense(y)
        y = self.mlp.dense1(self.layer_norm_2(x))
        y = self.mlp.dwconv(y.transpose(1, 2)).transpose(1, 2)
        return x + self.mlp.dense2(nn.functional.gelu(y))


class SegFormer(nn.Module):
    """Lists of patch embeddings, of stages and of normalisations, run in turns."""

    def __init__(self, widths: tuple[int, ...] = (8, 12, 16)) -> None:
        super().__init__()
        before = (3, *widths)
        self.patch_embeddings = nn.ModuleList(
            nn.ModuleDict({"proj": nn.Conv2d(a, b, 3, 2), "layer_norm": nn.LayerNorm(b)})
            for a, b in zip(before, widths, strict=False)
        )
        self.block = nn.ModuleList(nn.ModuleList([Stage(b), Stage(b)]) for b in widths)
        self.layer_norm = nn.ModuleList(nn.LayerNorm(b) for b in widths)
        self.classifier = nn.Linear(widths[-1], 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = zip(self.patch_embeddings, self.block, self.layer_norm, strict=True)
        for embedding, blocks, norm in parts:
            x = embedding.proj(x)
            n, c, h, w = x.shape
            x = embedding.layer_norm(x.flatten(2).transpose(1, 2))
            for block in blocks:
                x = block(x)
            x = norm(x).transpose(1, 2).reshape(n, c, h, w)
        return self.classifier(x.mean((2, 3)))


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(256, 120), nn.Linear(120, 84), nn.Linear(84, 10)


class AutoEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 10), nn.ReLU(), nn.Linear(10, 20))


def long_sequence() -> nn.Module:
    return nn.Sequential(*(nn.Linear(5, 5) for _ in range(12)))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 3, norm=nn.LayerNorm(8), enable_nested_tensor=False)


def encoder_decoder() -> nn.Module:
    return nn.Transformer(8, 2, 2, 2, 16, batch_first=True)


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "resnet": ResNet,
    "pre_activation_resnet": PreActivationResNet,
    "densenet": DenseNet,
    "vision_transformer": VisionTransformer,
    "gpt": Gpt,
    "bert": Bert,
    "transformers_vit": TransformersViT,
    "segformer": SegFormer,
    "llama": Llama,
    "lenet": LeNet,
    "autoencoder": AutoEncoder,
    "long_sequence": long_sequence,
    "encoder": encoder,
    "encoder_decoder": encoder_decoder,
}


@torch.no_grad()
def randomised(module: nn.Module) -> nn.Module:
    """Give every tensor values of its own, so that no two layers read the same."""
    generator = torch.Generator().manual_seed(0)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            values = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(values + 0.5 if tensor.ndim == 1 else values - 0.5)
    return module
