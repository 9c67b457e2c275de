"""Draw an architecture of any kind, within what a small machine can train."""

from __future__ import annotations

import dataclasses

import numpy as np

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import (
    ACTIVATIONS,
    NORMALISATIONS,
    Architecture,
    InputForm,
)
from accuracy_from_weights.zoo.recipes.costs import multiplications

_MAX_DEPTH = 8
_NARROWEST, _WIDEST = 8, 128
# The most multiplications for one image: beyond it, widths are halved.
_COSTLIEST = 1.5e6


def draw_architecture(rng: np.random.Generator, size: int) -> Architecture:
    """Draw an architecture for images of ``size`` pixels a side."""
    kind = str(
        rng.choice(("cnn", "resnet", "separable", "mlp", "vit"), p=(0.4, 0.18, 0.14, 0.14, 0.14))
    )
    activation = str(rng.choice(ACTIVATIONS))
    if kind == "vit":
        architecture = _draw_transformer(rng, size, activation)
    elif kind == "mlp":
        depth = int(rng.integers(1, 6))
        architecture = Architecture(
            kind="mlp",
            widths=tuple(_draw_width(rng) for _ in range(depth)),
            normalisation=str(rng.choice(("none", "batch", "layer"), p=(0.5, 0.25, 0.25))),
            activation=activation,
        )
    else:
        architecture = _draw_convolutions(rng, kind, size, activation)
    return _affordable(architecture, size)


def _draw_width(rng: np.random.Generator) -> int:
    """Draw a width of 8 to 128, a multiple of 4, narrow ones as likely as wide ones."""
    return 4 * round(float(np.exp(rng.uniform(np.log(_NARROWEST), np.log(_WIDEST)))) / 4)


def _draw_transformer(rng: np.random.Generator, size: int, activation: str) -> Architecture:
    patch = int(
        rng.choice([p for p in (2, 4, 5, 7) if size % p == 0 and size // p <= 7] or [size // 2])
    )
    heads = int(rng.choice((1, 2, 4)))
    width = heads * 4 * int(rng.integers(2, 64 // (4 * heads) + 1))
    return Architecture(
        kind="vit",
        widths=(width,) * int(rng.integers(1, 7)),
        normalisation="layer",
        activation=activation,
        patch_size=patch,
        heads=heads,
        mlp_ratio=float(rng.choice((1.0, 2.0, 4.0))),
    )


def _draw_convolutions(
    rng: np.random.Generator, kind: str, size: int, activation: str
) -> Architecture:
    """Draw a convolutional network, anew while it leaves nothing of the images."""
    # A residual block has two convolutions after the first one.
    deepest = (_MAX_DEPTH - 1) // 2 + 1 if kind == "resnet" else _MAX_DEPTH
    while True:
        depth = int(rng.integers(2 if kind != "cnn" else 1, deepest + 1))
        grows = rng.random() < 0.5
        widths = [_draw_width(rng) for _ in range(depth)]
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


def _affordable(architecture: Architecture, size: int) -> Architecture:
    """Halve the widest layers, though not below 8, until one image costs little enough."""
    form = InputForm("image", (3, size, size))
    while multiplications(architecture, form, 20) > _COSTLIEST:
        widest = max(architecture.widths)
        # Multiples of 4 stay multiples of 2, which is all that at most two heads ask of a width.
        narrower = max(_NARROWEST, widest // 8 * 4)
        if narrower == widest:
            break
        architecture = dataclasses.replace(
            architecture,
            widths=tuple(narrower if w == widest else w for w in architecture.widths),
            heads=min(architecture.heads, 2),
        )
    return architecture
