from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accuracy_from_weights.features.description import FEATURE_NAMES, describe
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
    """The worked-out share of active neurons is what random inputs show."""
    generator = np.random.default_rng(5)
    weights = network(generator, ((200, 20), (10, 200)))
    x = generator.normal(size=(20_000, 20))
    before = x @ weights.layers[0].kernel.T + weights.layers[0].bias
    hidden = np.maximum(before, 0)
    logits = hidden @ weights.layers[1].kernel.T + weights.layers[1].bias
    logits -= logits.mean(axis=1, keepdims=True)
    row = dict(zip(FEATURE_NAMES, describe(weights)[0], strict=True))
    active = row["propagation.relu0.hidden.active.first"]
    assert active == pytest.approx((before > 0).mean(), abs=0.005)
    mean = logits.mean(axis=0)
    assert row["propagation.relu0.output.log_mean_variance"] == pytest.approx(
        np.log((mean**2).mean()), abs=0.05
    )
    # Stein's lemma leaves out what rectifiers add at second order: a tenth of the variance.
    assert row["propagation.relu0.output.log_variance"] == pytest.approx(
        np.log(logits.var(axis=0).mean()), abs=0.15
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
