"""How far the statistics of large layers are from exact ones: median and largest error.

``python benchmarks/large_layer_errors.py`` describes seventeen kernels of 150 thousand to 2.4
million weights both ways, in about ten seconds, and prints what `features/large_layers.py` states.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from accuracy_from_weights.features.large.large_layers import LargeLayer
from accuracy_from_weights.features.layer_statistics import layer_statistics
from accuracy_from_weights.weights import Layer

FloatArray = NDArray[np.floating]
DEVIATION = 0.04
EXACT = 1e-4
"""Below it the difference is rounding."""


def with_directions(
    rng: np.random.Generator, out: int, fan_in: int, directions: int, share: float
) -> FloatArray:
    """Noise, and some directions that have a share of the energy."""
    low = rng.normal(size=(out, directions)) @ rng.normal(size=(directions, fan_in))
    noise = rng.normal(size=(out, fan_in))
    return DEVIATION * (noise * np.sqrt(1 - share) + low * np.sqrt(share / directions))


def power_law(rng: np.random.Generator, out: int, fan_in: int, exponent: float) -> FloatArray:
    """Singular values that fall as a power of their rank."""
    rank = min(out, fan_in)
    left, right = (np.linalg.qr(rng.normal(size=(n, rank)))[0] for n in (out, fan_in))
    singular = np.arange(1, rank + 1) ** -exponent
    kernel: FloatArray = (left * singular) @ right.T
    return kernel * DEVIATION / kernel.std()


def kernels() -> list[FloatArray]:
    """Matrices of shape (out, fan_in)."""
    rng = np.random.default_rng(7)
    return [
        *(rng.normal(0, DEVIATION, shape) for shape in ((256, 600), (1024, 576), (1024, 2304))),
        0.02 * rng.standard_t(4, (512, 512)),
        0.02 * rng.standard_t(3, (512, 2304)),
        rng.normal(0, DEVIATION, (512, 512)) * rng.lognormal(0, 0.5, (512, 1)),
        rng.normal(0, DEVIATION, (512, 2304)) * rng.lognormal(0, 1.0, (512, 1)),
        rng.normal(0, DEVIATION, (768, 768)) * rng.lognormal(0, 0.5, (1, 768)),
        *(
            with_directions(rng, *case)
            for case in (
                (512, 512, 1, 0.05),
                (512, 512, 5, 0.2),
                (768, 768, 10, 0.5),
                (1024, 576, 40, 0.5),
                (512, 2304, 20, 0.9),
                (512, 512, 40, 0.98),
                (1024, 2304, 5, 0.98),
            )
        ),
        power_law(rng, 512, 512, 0.5),
        power_law(rng, 1024, 576, 1.0),
    ]


def layer_of(kernel: FloatArray) -> Layer:
    """Make it a convolution of 3 by 3 where the fan-in allows one."""
    out, fan_in = kernel.shape
    shape = (out, fan_in // 9, 3, 3) if fan_in % 9 == 0 else (out, fan_in)
    return Layer("layer", "conv", kernel.reshape(1, *shape).astype(np.float32))


def main() -> None:
    errors: dict[str, list[float]] = {}
    for layer in map(layer_of, kernels()):
        exact, large = layer_statistics(layer), layer_statistics(LargeLayer.of(layer))
        for name, value in exact.items():
            inner = name in ("q5", "q25", "q50", "q75", "q95")
            error = abs(float(large[name][0] - value[0]))
            errors.setdefault("inner quantiles" if inner else name, []).append(error)
    print(f"{'statistic':20s} {'median':>8s} {'largest':>8s}")
    for name, found in errors.items():
        if max(found) > EXACT * 10:
            print(f"{name:20s} {np.median(found):8.4f} {max(found):8.4f}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
