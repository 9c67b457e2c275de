"""Arithmetic that all features share."""

from __future__ import annotations

import numpy as np
import pytest

from accuracy_from_weights.features.numbers import quantiles


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m", [1, 2, 7, 1000])
@pytest.mark.parametrize("decimals", [0, 9])
def test_quantiles_are_numpys_to_the_last_bit(dtype, m, decimals):
    values = np.random.default_rng(m).normal(size=(3, m)).round(decimals).astype(dtype)
    shares = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    found = quantiles(values, shares)
    np.testing.assert_array_equal(found, np.quantile(values, shares, axis=1))
