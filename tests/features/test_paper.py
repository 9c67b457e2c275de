from __future__ import annotations

import numpy as np

from accuracy_from_weights.features.paper import paper_statistics
from accuracy_from_weights.weights.layers import stack_networks
from tests.synthetic import network


def direct(weights) -> list[float]:
    numbers = []
    for layer in weights.layers:
        for tensor in (layer.kernel, layer.bias):
            flat = tensor.astype(np.float64).ravel()
            ordered = np.sort(flat)
            quartiles = []
            for share in (0, 0.25, 0.5, 0.75, 1):
                place = share * (len(ordered) - 1)
                below, above = int(np.floor(place)), int(np.ceil(place))
                weight = place - below
                quartiles.append(ordered[below] * (1 - weight) + ordered[above] * weight)
            deviation = np.sqrt(((flat - flat.sum() / flat.size) ** 2).sum() / flat.size)
            numbers += [flat.sum() / flat.size, deviation, *quartiles]
    return numbers


def test_equals_a_direct_computation():
    generator = np.random.default_rng(0)
    networks = [network(generator, scale=scale) for scale in (0.1, 1, 5)]
    table = paper_statistics(stack_networks(networks))
    assert table.shape == (3, 56)
    np.testing.assert_allclose(table, [direct(n) for n in networks], rtol=1e-5, atol=1e-6)
