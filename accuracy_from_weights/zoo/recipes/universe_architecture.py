"""Draw an architecture for any kind of input, in the idioms of PyTorch, Keras and papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import (
    ACTIVATIONS,
    Architecture,
    InputForm,
    paper_architecture,
)
from accuracy_from_weights.zoo.recipes.costs import NARROWEST, narrowed
from accuracy_from_weights.zoo.recipes.distributions import log_uniform
from accuracy_from_weights.zoo.recipes.wild_architecture import draw_transformer, draw_width

IDIOMS = {"torch": 0.4, "keras": 0.35, "mixed": 0.25}
"""How often a network is put together as users of a framework do, and how often as neither."""

_KINDS: dict[str, dict[str, float]] = {
    "image": {
        "paper": 0.10,
        "cnn": 0.43,
        "resnet": 0.16,
        "separable": 0.07,
        "mlp": 0.14,
        "vit": 0.10,
    },
    "table": {"mlp": 1.0},
    "tokens": {"mlp": 0.25, "cnn": 0.2, "lstm": 0.22, "gru": 0.08, "vit": 0.25},
    "signal": {"cnn": 0.55, "resnet": 0.17, "gru": 0.06, "lstm": 0.12, "mlp": 0.1},
}
"""What is drawn for each kind of input, and how often."""

# Below 15 pixels, three valid convolutions of stride 2 leave nothing.
_SMALLEST_OF_PAPER = 15
# From here on the first block mostly halves the size.
_LARGE = 20
_MOST_RESIDUAL_BLOCKS = 10

Draw = np.random.Generator


def draw_idiom(rng: Draw) -> str:
    """Draw one of `IDIOMS`."""
    return str(rng.choice(list(IDIOMS), p=list(IDIOMS.values())))


def draw_architecture(rng: Draw, form: InputForm, idiom: str, costliest: float) -> Architecture:
    """Draw an architecture for inputs of a form, put together as one of `IDIOMS`.

    ``costliest`` are the most multiplications that one example may take; layers are narrowed until
    it does.
    """
    kinds = dict(_KINDS[form.kind])
    if form.kind == "image" and form.size < _SMALLEST_OF_PAPER:
        kinds.pop("paper")
    shares = np.array(list(kinds.values()))
    kind = str(rng.choice(list(kinds), p=shares / shares.sum()))
    if kind == "paper":
        return paper_architecture(str(rng.choice(("relu", "tanh"))))
    draw: Callable[[Draw, InputForm, str], dict[str, Any]] = _PARTS.get(kind, _convolutional)
    while True:
        values = {"kind": kind, **_idiom(rng, idiom), **draw(rng, form, kind)}
        if form.kind == "tokens" and kind != "vit":
            values["embedding"] = int(rng.choice((8, 16, 32, 64)))
        architecture = Architecture(**values)
        try:
            return narrowed(architecture, form, 10, costliest)
        except ZooError:  # it leaves nothing of inputs this small
            continue


def _idiom(rng: Draw, idiom: str) -> dict[str, Any]:
    """Draw what users of a framework have in common."""
    usual = rng.random() < 0.7
    values: dict[str, Any] = {
        "activation": "relu" if usual and idiom != "mixed" else str(rng.choice(ACTIVATIONS)),
        "bias": idiom == "keras" or bool(rng.random() < 0.5),
    }
    if idiom == "keras":
        # Short trainings need a momentum other than Keras' default, or its means lag behind.
        momentum = float(rng.choice((0.01, 0.05, 0.1), p=(0.4, 0.2, 0.4)))
        first = bool(rng.random() < 0.6)
        values |= {"momentum": momentum, "epsilon": 1e-3, "activation_first": first}
    return values


def _dense_layers(rng: Draw, share: float) -> tuple[int, ...]:
    """Draw dense layers before the last one: mostly one, of a round number of units."""
    if rng.random() >= share:
        return ()
    return tuple(int(rng.choice((16, 32, 64, 128))) for _ in range(1 + (rng.random() < 0.2)))


def _convolutional(rng: Draw, form: InputForm, kind: str) -> dict[str, Any]:
    """Draw plain, residual and separable convolutions for images, signals and tokens."""
    flat = form.dims == 1
    if kind == "resnet":
        blocks = round(log_uniform(rng, 2, _MOST_RESIDUAL_BLOCKS))
        depth = 1 + blocks
    else:
        depth = int(rng.integers(1 if kind == "cnn" else 2, 7))
    # A handful of halvings, in the first blocks or spread over all.
    halvings = int(rng.integers(0, min(3, depth) + 1)) if form.size >= 8 else 0
    places = np.arange(depth) if rng.random() < 0.6 else rng.permutation(depth)
    strides = np.ones(depth, int)
    strides[places[:halvings]] = 2
    if form.size >= _LARGE and rng.random() < 0.7:
        strides[0] = 2
    first = draw_width(rng, 64)
    if rng.random() < 0.6:
        # Wider wherever the maps get smaller, as in VGG and ResNet.
        widths = tuple(int(min(first * 2**n, 128)) for n in np.cumsum(strides == 2))
    else:
        widths = (first,) * depth
    pooled = rng.random() < (0.25 if kind == "resnet" else 0.55)
    heads = ("average", "flatten", "max")
    return {
        "widths": widths,
        "strides": tuple(map(int, strides)),
        "kernel_size": int(rng.choice((3, 5, 7), p=(0.6, 0.25, 0.15) if flat else (0.88, 0.12, 0))),
        "pooling": str(rng.choice(("max", "average"), p=(0.8, 0.2))) if pooled else "none",
        "padding": str(rng.choice(("same", "valid"), p=(0.65, 0.35))),
        "normalisation": str(
            rng.choice(("none", "batch", "layer", "group"), p=(0.35, 0.5, 0.08, 0.07))
            if kind == "cnn"
            else rng.choice(("none", "batch", "layer", "group"), p=(0.12, 0.7, 0.08, 0.1))
        ),
        "head": str(rng.choice(heads, p=(0.45, 0.4, 0.15) if kind == "cnn" else (0.8, 0.1, 0.1))),
        "dense": _dense_layers(rng, 0.45 if kind == "cnn" else 0.1),
    }


def _dense(rng: Draw, form: InputForm, kind: str) -> dict[str, Any]:
    depth = int(rng.integers(1, 5))
    first = draw_width(rng, 192 if form.kind == "table" else 128)
    shrinking = rng.random() < 0.4
    return {
        "widths": tuple(max(NARROWEST, first // (2**i if shrinking else 1)) for i in range(depth)),
        "normalisation": str(rng.choice(("none", "batch", "layer"), p=(0.55, 0.3, 0.15))),
    }


def _transformer(rng: Draw, form: InputForm, kind: str) -> dict[str, Any]:
    fitting = [p for p in (2, 3, 4, 5, 7, 8) if 2 <= form.size // p <= 8]
    patches = None if form.kind == "tokens" else fitting
    return {
        **draw_transformer(rng, patches, widest=48, most_blocks=4),
        "activation": str(rng.choice(("relu", "gelu"))),
        "dense": _dense_layers(rng, 0.1),
    }


def _recurrent(rng: Draw, form: InputForm, kind: str) -> dict[str, Any]:
    width = draw_width(rng, 64)
    return {
        "widths": (width,) * (1 + int(rng.random() < 0.3)),
        "head": str(rng.choice(("last", "average", "max"), p=(0.65, 0.2, 0.15))),
        "dense": _dense_layers(rng, 0.35),
    }


_PARTS = {"mlp": _dense, "vit": _transformer, "lstm": _recurrent, "gru": _recurrent}
