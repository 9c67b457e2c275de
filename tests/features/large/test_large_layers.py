"""Layers beyond `LARGEST_EXACT`: what is estimated, and that no second copy is made."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from accuracy_from_weights.features.description import describe
from accuracy_from_weights.features.large.large_layers import LargeLayer, is_large
from accuracy_from_weights.features.layer_statistics import layer_statistics
from accuracy_from_weights.features.propagation import propagate
from accuracy_from_weights.weights import Layer, NetworkWeights

# What `large_layers` says: the largest error of each estimated statistic. All others are exact.
TOLERANCES = {
    **dict.fromkeys(("q5", "q25", "q50", "q75", "q95"), 0.037),
    "mean_absolute": 0.015,
    "log_spectral_norm": 0.16,
    "stable_rank": 0.03,
    "spectral_entropy": 0.014,
    "participation_ratio": 0.06,
    "cosine": 0.32,
    "smoothness": 0.01,
}
SHAPE = (192, 64, 3, 3)


def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, 0.04, SHAPE)


def heavy_tails(rng: np.random.Generator) -> np.ndarray:
    return 0.02 * rng.standard_t(4, SHAPE)


def uneven_rows(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, 0.04, SHAPE) * rng.lognormal(0, 0.5, (SHAPE[0], 1, 1, 1))


def few_directions(rng: np.random.Generator) -> np.ndarray:
    low = rng.normal(size=(SHAPE[0], 5)) @ rng.normal(size=(5, 64 * 9))
    return 0.02 * (rng.normal(size=SHAPE) + 0.5 * low.reshape(SHAPE))


def off_centre(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0.5, 0.04, SHAPE)


KERNELS = {f.__name__: f for f in (noise, heavy_tails, uneven_rows, few_directions, off_centre)}


def layer_of(kernel: np.ndarray, gain: np.ndarray | None = None) -> Layer:
    """A stack of one."""
    bias = np.linspace(-1, 1, len(kernel), dtype=np.float32)[None]
    kernel = kernel.astype(np.float32)[None]
    return Layer("layer", "conv", kernel, bias, gain=None if gain is None else gain[None])


@pytest.mark.parametrize("name", KERNELS)
def test_estimates_stay_within_the_stated_errors(name: str) -> None:
    layer = layer_of(KERNELS[name](np.random.default_rng(1)))
    exact, large = layer_statistics(layer), layer_statistics(LargeLayer.of(layer))
    assert large.keys() == exact.keys()
    for statistic in exact.keys() - {"smallest_singular"}:
        tolerance = TOLERANCES.get(statistic, 1e-4 * (1 + abs(float(exact[statistic][0]))))
        assert large[statistic] == pytest.approx(exact[statistic], abs=tolerance), statistic


@pytest.mark.parametrize("depthwise", [False, True])
def test_means_and_variances_are_carried_exactly(depthwise: bool) -> None:
    rng = np.random.default_rng(2)
    shape = (1100, 1, 3, 3) if depthwise else SHAPE
    kernel, gain = rng.normal(0.02, 0.1, shape), rng.normal(1, 0.5, shape[0])
    mean = rng.normal(size=(6, shape[0] if depthwise else shape[1]))
    variance = rng.uniform(0, 2, mean.shape)
    layer = layer_of(kernel, gain.astype(np.float32))
    carried = LargeLayer.of(layer).kernels[0].carry(mean, variance, depthwise)
    folded = (kernel * gain[:, None, None, None]).reshape(*shape[:2], -1)
    summed = folded.sum(axis=2)
    for matrix, values, found in zip(
        (summed, (folded**2).sum(axis=2), summed**2),
        (mean, variance, variance),
        carried,
        strict=True,
    ):
        expected = values * matrix[:, 0] if depthwise else values @ matrix.T
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def described(kernel: np.ndarray, gain: np.ndarray | None = None) -> np.ndarray:
    """All that is worked out for a large layer behind a small one."""
    rng = np.random.default_rng(3)
    before = Layer("a", "conv", rng.normal(size=(1, kernel.shape[1], 5)).astype(np.float32))
    layer = Layer("b", "conv", kernel[None], gain=None if gain is None else gain[None])
    assert is_large(layer)
    large = LargeLayer.of(layer)
    statistics = np.concatenate(list(layer_statistics(large).values()))
    return np.concatenate([statistics, propagate((before, large), 1)[0]])


@pytest.mark.parametrize("shape", [SHAPE, (300, 400), (1100, 1, 3, 3), (2, 40_000)])
def test_the_way_of_storing_makes_no_difference(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    kernel = rng.normal(0.01, 0.1, shape).astype(np.float32)
    axes = (*range(2, len(shape)), 1, 0)
    as_keras_does = np.ascontiguousarray(kernel.transpose(axes)).transpose(np.argsort(axes))
    padded = np.zeros((*shape[:-1], shape[-1] + 1), np.float32)
    padded[..., :-1] = kernel
    expected = described(kernel)
    for other in (as_keras_does, kernel.astype(float), padded[..., :-1], rng.permutation(kernel)):
        np.testing.assert_allclose(described(other), expected, rtol=2e-4, atol=5e-3)


@pytest.mark.parametrize("factor", [1.0, 1e-7, 1e7])
def test_gains_are_folded_in(factor: float) -> None:
    """Extreme ones too, which weights make up for: batch normalisation leaves their scale free."""
    rng = np.random.default_rng(4)
    kernel = rng.normal(0.01, 0.1, SHAPE).astype(np.float32)
    gain = rng.normal(1, 0.5, SHAPE[0]).astype(np.float32)
    gain[7] = 0
    expected = described(kernel * gain[:, None, None, None])
    found = described(kernel / np.float32(factor), gain * np.float32(factor))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def test_diverged_and_broken_large_layers() -> None:
    rng = np.random.default_rng(5)
    kernel = noise(rng)
    kernel[3, 2] = 1e30
    layer = layer_of(kernel)
    exact, large = layer_statistics(layer), layer_statistics(LargeLayer.of(layer))
    for name in ("mean", "log_std", "q0", "q100", "neuron_max"):
        assert large[name] == pytest.approx(exact[name], rel=1e-3), name
    for broken in (np.nan, np.inf):
        kernel[0, 0, 0, 0] = broken
        network = NetworkWeights((Layer("a", "conv", kernel.astype(np.float32)),))
        assert np.isnan(describe(network)).all()


def test_no_copy_of_the_largest_layer_is_made() -> None:
    rng = np.random.default_rng(6)
    shapes = [(64, 3, 7, 7), *[(64, 64, 3, 3)] * 4, (256, 128, 1, 1), (512, 512, 3, 3), (10, 512)]
    layers = tuple(
        Layer(
            f"layer{i}",
            "conv" if len(shape) > 2 else "dense",
            rng.normal(0, 0.05, shape).astype(np.float32),
            gain=np.full(shape[0], 1.5, np.float32) if len(shape) > 2 else None,
        )
        for i, shape in enumerate(shapes)
    )
    network = NetworkWeights(layers)
    largest = max(layer.stored.nbytes for layer in layers)
    describe(network)  # libraries load, and buffers that stay are made
    tracemalloc.start()
    try:
        describe(network)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < largest
