"""Costs of training a network: multiplications, values, and seconds of one CPU core."""

from __future__ import annotations

import dataclasses
import itertools
import math

from accuracy_from_weights.zoo.recipes.architecture import Architecture, InputForm

NARROWEST = 8
"""The fewest filters or units that a drawn layer has."""

# Measured on one core of a server's processor with PyTorch 2.13: seconds a multiplication, a value
# between layers, a layer's calls in one step, and a step along a sequence.
_MULTIPLICATION = 2e-11
_VALUE = {"vit": 1.2e-8, "lstm": 1.5e-8, "gru": 1.5e-8}
_VALUE_OF_OTHERS = 3e-9
_LAYER = 1.5e-4
_SEQUENCE_STEP = {"lstm": 1.5e-5, "gru": 8e-5}
# A backward pass costs twice the forward one.
_TRAINING = 3.0
# Values that a block holds for each of its outputs: convolutions, normalisations, activations.
_VALUES_OF_BLOCK = {"cnn": 3, "resnet": 6, "separable": 4}


def narrowed(
    architecture: Architecture, form: InputForm, n_classes: int, costliest: float
) -> Architecture:
    """Halve the widest layers, though not below 8, until one example costs little enough.

    ``costliest`` are the most multiplications that an example may take.
    """
    a = architecture
    while multiplications(a, form, n_classes) > costliest:
        widest = max((*a.widths, *a.dense))
        # Multiples of 4 stay multiples of 2, which is all that at most two heads ask of a width.
        narrower = max(NARROWEST, widest // 8 * 4)
        if narrower == widest:
            break
        widths, dense = (
            tuple(narrower if width == widest else width for width in layers)
            for layers in (a.widths, a.dense)
        )
        a = dataclasses.replace(a, widths=widths, dense=dense, heads=min(a.heads, 2))
    return a


def seconds_of_step(a: Architecture, form: InputForm, n_classes: int, batch: int) -> float:
    """Estimate the seconds that a training step takes one core."""
    per_example = seconds_of_example(a, form, n_classes) * _TRAINING
    along = len(a.widths) * form.size * _SEQUENCE_STEP.get(a.kind, 0.0)
    return batch * per_example + _LAYER * (2 + n_kernels(a)) + along


def seconds_of_example(a: Architecture, form: InputForm, n_classes: int) -> float:
    """Estimate the seconds that one example takes one core, forward and among many."""
    values = _VALUE.get(a.kind, _VALUE_OF_OTHERS) / _TRAINING
    return multiplications(a, form, n_classes) * _MULTIPLICATION + _values(a, form) * values


def multiplications(a: Architecture, form: InputForm, n_classes: int) -> int:
    """Count the multiplications that one example takes, forward."""
    depth = a.embedding if form.kind == "tokens" else form.channels
    total = 0
    if a.kind == "vit":
        features = a.widths[0]
        places = _places(a, form)
        if form.kind != "tokens":
            total += places * form.channels * a.patch_size**form.dims * features
        block = features * features * (4 + 2 * a.mlp_ratio) + 2 * places * features
        total += round(places * len(a.widths) * block)
    elif a.kind == "mlp":
        inputs = depth if form.kind == "tokens" else math.prod(form.shape)
        total += _between((inputs, *a.widths))
        features = a.widths[-1]
    elif a.is_convolutional:
        area = a.kernel_size**form.dims
        for i, (width, outputs) in enumerate(zip(a.widths, _outputs(a, form), strict=True)):
            if i == 0 or a.kind == "cnn":
                total += outputs * area * depth * width
            elif a.kind == "resnet":
                total += outputs * (area * (depth + width) + depth) * width
            else:
                total += outputs * depth * (area + width)
            depth = width
        left = a.sizes(form.size)[-1] ** form.dims
        features = depth * (left if a.head == "flatten" else 1)
    else:
        gates = 4 if a.kind == "lstm" else 3
        for width in a.widths:
            total += form.size * gates * width * (depth + width)
            depth = width
        features = depth
    return total + _between((features, *a.dense, n_classes))


def n_kernels(a: Architecture) -> int:
    """Count the layers with a kernel."""
    blocks = len(a.widths)
    if a.kind == "vit":
        return 2 + 6 * blocks
    each = {"separable": 2, "resnet": 3}.get(a.kind, 1)
    return 2 + each * (blocks - 1) + len(a.dense)


def _values(a: Architecture, form: InputForm) -> float:
    """Count the values between layers that one example takes, roughly."""
    if a.kind == "vit":
        return _places(a, form) * len(a.widths) * a.widths[0] * (7 + a.mlp_ratio)
    if a.kind == "mlp":
        return 2.0 * sum(a.widths)
    if a.is_convolutional:
        outputs = zip(a.widths, _outputs(a, form), strict=True)
        return _VALUES_OF_BLOCK[a.kind] * sum(width * n for width, n in outputs)
    return 2.0 * form.size * sum(a.widths)


def _between(widths: tuple[int, ...]) -> int:
    return sum(a * b for a, b in itertools.pairwise(widths))


def _places(a: Architecture, form: InputForm) -> int:
    """Count a transformer's tokens."""
    return form.size if form.kind == "tokens" else (form.size // a.patch_size) ** form.dims


def _outputs(a: Architecture, form: InputForm) -> list[int]:
    """Count the places of each block's convolutions; pooling comes after them."""
    sizes = zip(a.sizes(form.size), a.strides, strict=True)
    pooled = a.pooling != "none"
    return [(side * (stride if pooled else 1)) ** form.dims for side, stride in sizes]
