from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accuracy_from_weights.features.description import FEATURE_NAMES, describe
from accuracy_from_weights.features.propagation import OVERLAPS
from accuracy_from_weights.weights.layers import Layer, NetworkWeights, stack_networks
from tests.synthetic import PAPER_SHAPES, network

widths = st.integers(1, 12)


@st.composite
def any_shapes(draw) -> tuple[tuple[int, ...], ...]:
    n_dense, n_conv = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    extent = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    shapes, inputs = [], draw(widths)
    for k in range(n_conv + n_dense):
        out = draw(widths)
        # Now and then the widths do not follow on, as after flattening or a concatenation.
        inputs = draw(widths) if draw(st.booleans()) else inputs
        shapes.append((out, inputs, *extent) if k < n_conv else (out, inputs))
        inputs = out
    return tuple(shapes)


def test_every_feature_has_its_own_name():
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)
    assert describe(network(np.random.default_rng(0))).shape == (1, len(FEATURE_NAMES))


@settings(max_examples=60, deadline=None)
@given(any_shapes(), st.integers(0, 2**31), st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 1e4, 1e30]))
def test_finite_for_any_finite_network(shapes, seed, scale):
    weights = network(np.random.default_rng(seed), shapes, scale)
    assert np.isfinite(describe(weights)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 7))
def test_a_broken_value_anywhere_marks_that_network_alone(seed, value, place):
    generator = np.random.default_rng(seed)
    networks = [network(generator) for _ in range(3)]
    array = networks[1].layers[place // 2].arrays[place % 2]
    array.reshape(-1)[generator.integers(array.size)] = value
    table = describe(stack_networks(networks))
    assert np.isnan(table[1]).all()
    np.testing.assert_array_equal(table[[0, 2]], describe(stack_networks(networks[::2])))


def permuted(weights: NetworkWeights, generator: np.random.Generator) -> NetworkWeights:
    """The same function: hidden neurons in another order."""
    layers, before = [], np.arange(weights.layers[0].kernel.shape[1])
    for k, layer in enumerate(weights.layers):
        last = k == len(weights.layers) - 1
        out = layer.kernel.shape[0]
        order = np.arange(out) if last else generator.permutation(out)
        kernel = layer.kernel[order][:, before]
        layers.append(Layer(layer.name, layer.kind, kernel, layer.bias[order]))
        before = order
    return NetworkWeights(tuple(layers))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 3))
def test_unchanged_when_hidden_neurons_are_permuted(seed, scale):
    generator = np.random.default_rng(seed)
    weights = network(generator, scale=scale)
    np.testing.assert_allclose(
        describe(permuted(weights, generator)), describe(weights), rtol=2e-3, atol=2e-3
    )


def test_a_stack_is_described_as_its_networks_one_by_one():
    generator = np.random.default_rng(3)
    networks = [network(generator, scale=scale) for scale in (0.2, 1, 3)]
    one_by_one = np.concatenate([describe(n) for n in networks])
    np.testing.assert_allclose(describe(stack_networks(networks)), one_by_one, rtol=1e-4, atol=1e-4)


def test_scale_free_across_widths():
    """He-initialised networks of different width look alike in what is not their size."""
    generator = np.random.default_rng(4)
    narrow = describe(network(generator, ((64, 32), (64, 64), (10, 64))))[0]
    wide = describe(network(generator, ((256, 128), (256, 256), (10, 256))))[0]
    named = dict(zip(FEATURE_NAMES, zip(narrow, wide, strict=True), strict=True))
    for name in ("layers.log_std.mean", "layers.log_kurtosis.mean", "layers.q75.mean"):
        assert named[name][0] == pytest.approx(named[name][1], abs=0.1), name


def test_propagation_matches_a_simulation():
    """Few fixed inputs show about what many others do."""
    generator = np.random.default_rng(5)
    weights = network(generator, ((400, 20), (10, 400)))
    x = generator.normal(size=(20_000, 20))
    before = x @ weights.layers[0].kernel.T + weights.layers[0].bias
    hidden = np.maximum(before, 0)
    logits = hidden @ weights.layers[1].kernel.T + weights.layers[1].bias
    logits -= logits.mean(axis=1, keepdims=True)
    row = dict(zip(FEATURE_NAMES, describe(weights)[0], strict=True))
    for view in (f"propagation.relu{round(100 * overlap)}" for overlap in OVERLAPS):
        active = row[f"{view}.hidden.active.first"]
        assert active == pytest.approx((before > 0).mean(), abs=0.03)
        assert row[f"{view}.output.log_variance"] == pytest.approx(
            np.log(logits.var(axis=0).mean()), abs=0.4
        )


def test_integers_and_half_precision_are_described_as_floats():
    weights = network(np.random.default_rng(6))

    def cast(dtype) -> NetworkWeights:
        return NetworkWeights(
            tuple(
                Layer(
                    layer.name,
                    layer.kind,
                    np.round(8 * layer.kernel).astype(dtype),
                    np.round(8 * layer.bias).astype(dtype),
                )
                for layer in weights.layers
            )
        )

    expected = describe(cast(np.float32))
    for dtype in (np.int8, np.int64, np.float16, np.float64):
        np.testing.assert_allclose(describe(cast(dtype)), expected, rtol=1e-4, atol=1e-4)


def test_networks_of_one_layer_and_without_bias_are_described():
    kernel = np.random.default_rng(7).normal(size=(10, 784)).astype(np.float32)
    alone = NetworkWeights((Layer("only", "dense", kernel),))
    assert np.isfinite(describe(alone)).all()
    assert PAPER_SHAPES[-1] == (10, 16)


def test_one_output_counts_as_two_classes():
    """A sigmoid's one output, and the two of a softmax that say the same."""
    hidden = Layer("a", "dense", np.random.default_rng(8).normal(size=(12, 5)).astype(np.float32))
    weights = np.random.default_rng(9).normal(size=(1, 12)).astype(np.float32)
    one = NetworkWeights((hidden, Layer("b", "dense", weights)))
    two = NetworkWeights((hidden, Layer("b", "dense", np.concatenate([weights, -weights]) / 2)))
    found, expected = (dict(zip(FEATURE_NAMES, describe(w)[0], strict=True)) for w in (one, two))
    assert found["architecture.log_outputs"] == pytest.approx(np.log(2))
    for name in FEATURE_NAMES:
        if name.startswith("propagation"):
            assert found[name] == pytest.approx(expected[name], abs=1e-4), name


def test_what_a_deep_network_does_stays_in_range():
    """Fifty layers without a way around: no number leaves the range of small networks' numbers."""
    generator = np.random.default_rng(10)
    shapes = ((16, 3, 3, 3), *[(16, 16, 3, 3)] * 48, (10, 16))
    for scale in (0.5, 1.0, 2.0):
        assert np.abs(describe(network(generator, shapes, scale))).max() < 100


LARGE_SHAPES = ((96, 3, 3, 3), (150, 96, 3, 3), (300, 150, 3, 3), (400, 300), (10, 400))


def test_large_hidden_layers_may_be_permuted():
    """Of them a sample is looked at, chosen by what does not depend on the neurons' order."""
    generator = np.random.default_rng(11)
    weights = network(generator, LARGE_SHAPES)
    np.testing.assert_allclose(
        describe(permuted(weights, generator)), describe(weights), rtol=5e-3, atol=5e-3
    )


def test_the_way_of_storing_large_kernels_makes_no_difference():
    generator = np.random.default_rng(12)
    weights = network(generator, LARGE_SHAPES)
    expected = describe(weights)

    def stored(change):
        layers = [Layer(x.name, x.kind, change(x.kernel), x.bias) for x in weights.layers]
        return NetworkWeights(tuple(layers))

    def as_keras_does(kernel):
        return np.ascontiguousarray(kernel.T).T

    def padded(kernel):
        wide = np.zeros((*kernel.shape[:-1], kernel.shape[-1] + 1), np.float32)
        wide[..., :-1] = kernel
        return wide[..., :-1]

    for change in (as_keras_does, padded, lambda kernel: kernel.astype(float)):
        np.testing.assert_allclose(describe(stored(change)), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("factor", [1.0, 1e-7, 1e7])
def test_gains_are_folded_in(factor):
    """Extreme ones too, which weights make up for: batch normalisation leaves their scale free."""
    generator = np.random.default_rng(13)
    folded, apart = [], []
    for layer in network(generator, LARGE_SHAPES).layers:
        gain = generator.normal(1, 0.3, len(layer.kernel)).astype(np.float32)
        shaped = gain.reshape(-1, *(1,) * (layer.kernel.ndim - 1))
        kernel, factored = layer.kernel, np.float32(factor)
        folded.append(Layer("", layer.kind, kernel * shaped, layer.bias))
        apart.append(Layer("", layer.kind, kernel / factored, layer.bias, gain=gain * factored))
    found, expected = (describe(NetworkWeights(tuple(layers))) for layers in (apart, folded))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_a_large_layer_that_has_diverged_or_broken():
    weights = network(np.random.default_rng(14), LARGE_SHAPES)
    kernel = weights.layers[2].kernel
    kernel[3, 2] = 1e30
    assert np.isfinite(describe(weights)).all()
    for broken in (np.nan, np.inf):
        kernel[3, 2, 0, 0] = broken
        assert np.isnan(describe(weights)).all()


def test_no_copy_of_the_largest_layer_is_made():
    shapes = ((64, 3, 7, 7), (64, 64, 3, 3), (256, 64, 1, 1), (512, 256, 3, 3), (10, 512))
    weights = network(np.random.default_rng(15), shapes)
    largest = max(layer.stored.nbytes for layer in weights.layers)
    describe(weights)  # libraries load, and buffers that stay are made
    tracemalloc.start()
    try:
        describe(weights)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < largest
