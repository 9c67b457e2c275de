"""Draw an architecture of any kind, within what a small machine can train."""

from __future__ import annotations

from typing import Any

import numpy as np

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import (
    ACTIVATIONS,
    NORMALISATIONS,
    Architecture,
    InputForm,
)
from accuracy_from_weights.zoo.recipes.costs import NARROWEST, narrowed
from accuracy_from_weights.zoo.recipes.distributions import log_uniform

_MAX_DEPTH = 8
_WIDEST = 128
# The most multiplications for one image: beyond it, widths are halved.
_COSTLIEST = 1.5e6


def draw_architecture(rng: np.random.Generator, size: int) -> Architecture:
    """Draw an architecture for images of ``size`` pixels a side."""
    kind = str(
        rng.choice(("cnn", "resnet", "separable", "mlp", "vit"), p=(0.4, 0.18, 0.14, 0.14, 0.14))
    )
    activation = str(rng.choice(ACTIVATIONS))
    if kind == "vit":
        patches = [p for p in (2, 4, 5, 7) if size % p == 0 and size // p <= 7] or [size // 2]
        values = draw_transformer(rng, patches, widest=64, most_blocks=6)
        architecture = Architecture("vit", activation=activation, **values)
    elif kind == "mlp":
        depth = int(rng.integers(1, 6))
        architecture = Architecture(
            kind="mlp",
            widths=tuple(draw_width(rng, _WIDEST) for _ in range(depth)),
            normalisation=str(rng.choice(("none", "batch", "layer"), p=(0.5, 0.25, 0.25))),
            activation=activation,
        )
    else:
        architecture = _draw_convolutions(rng, kind, size, activation)
    return narrowed(architecture, InputForm("image", (3, size, size)), 20, _COSTLIEST)


def draw_width(rng: np.random.Generator, widest: int) -> int:
    """Draw a multiple of 4 from 8 on, narrow ones as likely as wide ones."""
    return 4 * round(log_uniform(rng, NARROWEST, widest) / 4)


def draw_transformer(
    rng: np.random.Generator, patches: list[int] | None, widest: int, most_blocks: int
) -> dict[str, Any]:
    """Draw what is a transformer's own; ``patches`` are the sizes of a patch, None for tokens."""
    patch = 0 if patches is None else int(rng.choice(patches))
    heads = int(rng.choice((1, 2, 4)))
    width = heads * 4 * int(rng.integers(2, widest // (4 * heads) + 1))
    return {
        "widths": (width,) * int(rng.integers(1, most_blocks + 1)),
        "normalisation": "layer",
        "patch_size": patch,
        "heads": heads,
        "mlp_ratio": float(rng.choice((1.0, 2.0, 4.0))),
    }


def _draw_convolutions(
    rng: np.random.Generator, kind: str, size: int, activation: str
) -> Architecture:
    """Draw a convolutional network, anew while it leaves nothing of the images."""
    # A residual block has two convolutions after the first one.
    deepest = (_MAX_DEPTH - 1) // 2 + 1 if kind == "resnet" else _MAX_DEPTH
    while True:
        depth = int(rng.integers(2 if kind != "cnn" else 1, deepest + 1))
        grows = rng.random() < 0.5
        widths = [draw_width(rng, _WIDEST) for _ in range(depth)]
        architecture = Architecture(
            kind=kind,
            widths=tuple(sorted(widths) if grows else widths[:1] * depth),
            kernel_size=int(rng.choice((3, 5), p=(0.85, 0.15))),
            strides=tuple(int(s) for s in rng.choice((1, 2), size=depth, p=(0.55, 0.45))),
            pooling=str(rng.choice(("none", "max", "average"), p=(0.5, 0.3, 0.2))),
            padding=str(rng.choice(("valid", "same"))),
            normalisation=str(rng.choice(NORMALISATIONS, p=(0.4, 0.3, 0.15, 0.15))),
            activation=activation,
            head=str(rng.choice(("average", "flatten"), p=(0.7, 0.3))),
        )
        try:
            architecture.sizes(size)
        except ZooError:
            continue
        return architecture
