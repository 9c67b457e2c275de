from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.features.input_spec import InputSpec
from accuracy_from_weights.features.probes import synthetic_inputs as made
from accuracy_from_weights.features.probes.synthetic_inputs import (
    INPUTS_PER_KIND,
    KINDS,
    N_INPUTS,
    synthetic_inputs,
)

shapes = st.one_of(
    st.tuples(st.integers(1, 300)),
    st.tuples(st.integers(1, 6), st.integers(1, 40)),
    st.tuples(st.integers(1, 4), st.integers(1, 24), st.integers(1, 24)),
)


@given(shapes)
def test_any_shape(shape: tuple[int, ...]) -> None:
    plain, nudged = synthetic_inputs(InputSpec.of_shape(shape))
    for images in (plain, nudged):
        assert images.shape == (N_INPUTS, *shape)
        assert images.dtype == np.float32
        assert np.isfinite(images).all()
        assert np.abs(images).max() <= InputSpec.of_shape(shape).usual_span[1]
        assert not images.flags.writeable
    assert 0 < np.abs(plain - nudged).mean() < 0.2


def test_always_the_same_inputs() -> None:
    """Numbers that another machine, or another release of numpy, must come to as well."""
    plain, nudged = synthetic_inputs(InputSpec.of_shape((1, 8, 8)))
    expected = [-0.01280, 0.07235, -0.35061, -0.22106, 0.04134]
    kinds = plain.reshape(len(KINDS), -1)
    np.testing.assert_allclose(kinds.mean(axis=1), expected, atol=1e-4)
    assert nudged[0, 0, 0, 0] == pytest.approx(0.66202, abs=1e-4)


def test_the_generation_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 - the state that users seed
    first = made._make(InputSpec("image", (2, 9, 7)))
    again = made._make(InputSpec("image", (2, 9, 7)))
    np.testing.assert_array_equal(first, again)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_channels_last_are_the_same_images() -> None:
    first, _ = synthetic_inputs(InputSpec.of_shape((3, 10, 12)))
    last, _ = synthetic_inputs(InputSpec.of_shape((10, 12, 3), channels_last=True))
    np.testing.assert_array_equal(np.moveaxis(first, 1, -1), last)
    signal, _ = synthetic_inputs(InputSpec.of_shape((4, 20)))
    last_signal, _ = synthetic_inputs(InputSpec.of_shape((20, 4), channels_last=True))
    np.testing.assert_array_equal(signal.swapaxes(1, 2), last_signal)


def test_a_flattened_image_is_an_image() -> None:
    image, _ = synthetic_inputs(InputSpec.of_shape((1, 28, 28)))
    flat, _ = synthetic_inputs(InputSpec.of_shape((784,)))
    np.testing.assert_array_equal(image.reshape(N_INPUTS, -1), flat)


def test_kinds_and_images_differ() -> None:
    plain, _ = synthetic_inputs(InputSpec.of_shape((1, 16, 16)))
    flat = plain.reshape(N_INPUTS, -1)
    assert len(np.unique(flat, axis=0)) == N_INPUTS
    spread = flat.reshape(len(KINDS), INPUTS_PER_KIND, -1).std(axis=(1, 2))
    assert spread.min() > 0.2


def test_large_images_are_not_kept() -> None:
    before = made._kept.cache_info().currsize
    synthetic_inputs(InputSpec.of_shape((3, 64, 64)))
    assert made._kept.cache_info().currsize == before


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 4), (1, 2, 3, 4), (-1, 28)])
def test_shapes_that_no_input_has(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedModelError, match="without the batch axis"):
        synthetic_inputs(InputSpec.of_shape(shape))
