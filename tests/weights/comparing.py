"""Equality of two readings."""

from __future__ import annotations

import numpy as np

from accuracy_from_weights.weights import NetworkWeights


def assert_same_layers(
    first: NetworkWeights, second: NetworkWeights, tolerance: float = 1e-6
) -> None:
    """Same kinds in the same order, same arrays; names may differ."""
    assert [layer.kind for layer in first.layers] == [layer.kind for layer in second.layers]
    for one, other in zip(first.layers, second.layers, strict=True):
        for a, b in zip(one.arrays, other.arrays, strict=True):
            assert (a is None) == (b is None), f"{one.name} and {other.name}"
            if a is not None and b is not None:
                np.testing.assert_allclose(
                    a, b, rtol=tolerance, atol=tolerance, err_msg=f"{one.name} and {other.name}"
                )
