"""A network that is equivariant to permutations of neurons, from the package `nfn`.

Zhou et al. (2023), Permutation equivariant neural functionals: layers that act on all weights of a
network at once, whose input and output units keep their places; then a mean over the hidden ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CHANNELS = 8
BATCH = 32
STEPS = 800
_RATE = 2e-3


def equivariant_estimates(
    tensors: list[NDArray[np.float32]],
    accuracies: Floats,
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    steps: int = STEPS,
) -> Floats:
    """Train on some networks, estimate others.

    Parameters
    ----------
    tensors : list of ndarray of shape (n_networks, ...)
        Kernel, bias, kernel, bias, ... of each layer; kernels as (out, in, *spatial).
    accuracies : ndarray of shape (n_networks,)
    train, test : ndarray of int
        Numbers of networks.
    steps : int
        Of Adam, its rate falling to zero along a cosine.

    Returns
    -------
    ndarray of shape (len(test),)
    """
    import torch

    torch.manual_seed(0)
    scaled = [_scaled(values, train) for values in tensors]
    truth = torch.from_numpy(accuracies.astype(np.float32))
    model = _model(_features(scaled, train[:1]))
    optimiser = torch.optim.Adam(model.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = np.random.default_rng(0)
    for _ in range(steps):
        rows = generator.choice(train, BATCH)
        logits = model(_features(scaled, rows))[:, 0]
        # The cross-entropy of a fraction: what the authors train with.
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth[rows])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        found = [
            torch.sigmoid(model(_features(scaled, rows))[:, 0]).numpy()
            for rows in np.array_split(test, max(1, len(test) // 64))
        ]
    return np.concatenate(found).astype(np.float64)


def _scaled(values: NDArray[np.float32], train: NDArray[np.intp]) -> Any:
    """Divide by the spread in the networks fitted on; huge weights are cut."""
    import torch

    spread = float(np.median(np.abs(values[train]).max(axis=tuple(range(1, values.ndim)))))
    return torch.from_numpy(np.clip(values / max(spread, 1e-6), -10, 10).astype(np.float32))


def _features(scaled: list[Any], rows: NDArray[np.intp]) -> Any:
    from nfn.common import WeightSpaceFeatures

    chosen = [values[rows][:, None] for values in scaled]
    return WeightSpaceFeatures(chosen[0::2], chosen[1::2])


def _model(example: Any) -> Any:
    from nfn.common import network_spec_from_wsfeat
    from nfn.layers import HNPLinear, HNPPool, TupleOp
    from torch import nn

    spec = network_spec_from_wsfeat(example)
    return nn.Sequential(
        HNPLinear(spec, 1, CHANNELS),
        TupleOp(nn.ReLU()),
        HNPLinear(spec, CHANNELS, CHANNELS),
        TupleOp(nn.ReLU()),
        HNPPool(spec),
        nn.Flatten(),
        nn.Linear(CHANNELS * HNPPool.get_num_outs(spec), 200),
        nn.ReLU(),
        nn.Linear(200, 1),
    )
