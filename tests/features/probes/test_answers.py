from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.features.probes.answers import PROBE_NAMES, logits_of, summarise
from accuracy_from_weights.features.probes.synthetic_inputs import INPUTS_PER_KIND, KINDS, N_INPUTS

SCALED = ("entropy", "information", "confidence", "log_scale", "divergence")
SCALE_FREE = np.array(
    ["tempered" in name or not name.partition(".")[2].startswith(SCALED) for name in PROBE_NAMES]
)
Floats = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)
classes = st.integers(1, 20)


def answers(seed: int, n_classes: int, scale: float = 3.0) -> Floats:
    """Answers of a network to the inputs and, in the second half, to the changed ones."""
    rng = np.random.default_rng(seed)
    plain = rng.normal(0, scale, (N_INPUTS, n_classes)) + rng.normal(0, scale, n_classes)
    return np.concatenate([plain, plain + rng.normal(0, 0.3 * scale, plain.shape)])


def numbers(outputs: Floats) -> NDArray[np.float32]:
    plain, nudged = np.split(logits_of(outputs), 2)
    return summarise(plain[None], nudged[None])[0]


def test_names_are_many_and_differ() -> None:
    assert 60 <= len(PROBE_NAMES) == len(set(PROBE_NAMES)) <= 120


@given(seeds, classes, st.sampled_from([1e-20, 1e-3, 1.0, 100.0, 1e20]))
def test_any_answers_give_finite_numbers(seed: int, n_classes: int, scale: float) -> None:
    found = numbers(answers(seed, n_classes, scale))
    assert found.shape == (len(PROBE_NAMES),)
    assert np.isfinite(found).all()


@given(seeds, st.integers(2, 20))
def test_the_order_of_classes_does_not_count(seed: int, n_classes: int) -> None:
    outputs = answers(seed, n_classes)
    order = np.random.default_rng(seed).permutation(n_classes)
    np.testing.assert_allclose(numbers(outputs[:, order]), numbers(outputs), atol=1e-5)


@given(seeds, st.integers(2, 20))
def test_the_order_of_inputs_of_a_kind_does_not_count(seed: int, n_classes: int) -> None:
    plain, nudged = np.split(answers(seed, n_classes), 2)
    order = np.arange(N_INPUTS).reshape(len(KINDS), INPUTS_PER_KIND)
    order = np.random.default_rng(seed).permuted(order, axis=1).ravel()
    np.testing.assert_allclose(
        summarise(plain[None, order], nudged[None, order]),
        summarise(plain[None], nudged[None]),
        atol=1e-5,
    )


@given(seeds, st.integers(2, 20), st.floats(0.01, 100))
def test_scale_free_numbers_do_not_feel_the_scale(seed: int, n_classes: int, by: float) -> None:
    outputs = answers(seed, n_classes)
    one, other = numbers(outputs), numbers(by * outputs)
    np.testing.assert_allclose(other[SCALE_FREE], one[SCALE_FREE], atol=1e-5)


@given(seeds, st.integers(2, 20))
def test_probabilities_are_as_good_as_logits(seed: int, n_classes: int) -> None:
    logits = answers(seed, n_classes)
    logits -= logits.max(axis=1, keepdims=True)
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    expected = numbers(logits)
    np.testing.assert_allclose(numbers(p), expected, atol=1e-5)
    np.testing.assert_allclose(numbers(p.astype(np.float32)), expected, atol=1e-3)
    np.testing.assert_allclose(numbers(np.log(p)), expected, atol=1e-5)
    np.testing.assert_allclose(numbers(logits + 5), expected, atol=1e-5)


@given(seeds)
def test_one_output_is_two_classes(seed: int) -> None:
    logit = answers(seed, 1)
    expected = numbers(np.concatenate([np.zeros_like(logit), logit], axis=1))
    np.testing.assert_allclose(numbers(logit), expected, atol=1e-5)
    np.testing.assert_allclose(numbers(logit[:, 0]), expected, atol=1e-5)
    np.testing.assert_allclose(numbers(1 / (1 + np.exp(-logit))), expected, atol=1e-4)


@given(seeds, st.integers(2, 20))
def test_networks_in_a_stack_do_not_see_each_other(seed: int, n_classes: int) -> None:
    plain, nudged = (np.stack(z) for z in zip(
        *(np.split(answers(seed + i, n_classes), 2) for i in range(3)), strict=True
    ))  # fmt: skip
    plain[1, 5, 0] = np.nan
    together = summarise(plain, nudged)
    assert np.isnan(together[1]).all()
    for i in (0, 2):
        alone = summarise(plain[i : i + 1], nudged[i : i + 1])[0]
        np.testing.assert_allclose(together[i], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, -1])
def test_answers_that_are_not_finite(value: float, row: int) -> None:
    outputs = answers(0, 10)
    outputs[row, 3] = value
    assert np.isnan(numbers(outputs)).all()


def test_what_the_numbers_mean() -> None:
    names = [name for name in PROBE_NAMES if name.startswith("waves.")]

    def named(outputs: Floats) -> dict[str, float]:
        return dict(zip(PROBE_NAMES, numbers(outputs).tolist(), strict=True))

    rng = np.random.default_rng(0)
    undecided = named(np.zeros((2 * N_INPUTS, 10)))
    assert undecided["waves.entropy"] == pytest.approx(1)
    assert undecided["waves.varied"] == 0
    collapsed = named(np.tile(10 * np.eye(10)[0], (2 * N_INPUTS, 1)))
    assert collapsed["waves.commonest_choice"] == pytest.approx(1)
    assert collapsed["waves.choices"] == pytest.approx(0, abs=1e-6)
    assert collapsed["all.information"] == pytest.approx(0, abs=1e-6)
    chosen = np.arange(N_INPUTS) % 10
    sure = named(np.tile(20 * np.eye(10)[chosen], (2, 1)))
    assert sure["all.information"] == pytest.approx(1, abs=0.01)
    assert sure["all.participation"] == pytest.approx(1, abs=0.01)
    assert sure["waves.changed_choices"] == pytest.approx(0, abs=1e-6)
    fickle = named(20 * np.eye(10)[rng.integers(0, 10, 2 * N_INPUTS)])
    assert fickle["waves.changed_choices"] > 0.6
    assert fickle["waves.sensitivity"] > sure["waves.sensitivity"] + 2
    assert len(names) == 18


@pytest.mark.parametrize("shape", [(320, 10, 4, 4), (320, 0), ()])
def test_outputs_that_are_no_classes(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedModelError, match="classifier"):
        logits_of(np.zeros(shape))


def test_further_axes_of_length_one() -> None:
    outputs = answers(0, 10)
    np.testing.assert_array_equal(logits_of(outputs[:, :, None, None]), logits_of(outputs))
