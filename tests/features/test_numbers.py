"""Arithmetic that all features share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accuracy_from_weights.features.numbers import quantiles

SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m", [1, 2, 7, 1000, 20_001])
@pytest.mark.parametrize("decimals", [0, 9])
def test_quantiles_are_numpys_to_the_last_bit(dtype, m, decimals):
    values = np.random.default_rng(m).normal(size=(3, m)).round(decimals).astype(dtype)
    np.testing.assert_array_equal(quantiles(values, SHARES), np.quantile(values, SHARES, axis=1))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    m=st.integers(2**14, 2**15),
    arranged=st.sampled_from([None, "sorted", "rounded", "heavy", "equal", "repeated"]),
)
def test_of_long_rows_too_whatever_their_order(seed, m, arranged):
    values = np.random.default_rng(seed).normal(size=(1, m))
    if arranged == "sorted":
        values.sort()
    elif arranged == "rounded":
        values = values.round(1)
    elif arranged == "heavy":
        values = 1 / values
    elif arranged == "equal":
        values[:] = values[0, 0]
    elif arranged == "repeated":  # whichever few are looked at first say little of the others
        values = np.tile(values[:, : m // 7], 7)
    np.testing.assert_array_equal(quantiles(values, SHARES), np.quantile(values, SHARES, axis=1))
