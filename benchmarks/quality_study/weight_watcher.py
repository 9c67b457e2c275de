"""WeightWatcher's metrics of the last checkpoints of a zoo's networks."""

from __future__ import annotations

import contextlib
import io
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.weights import read_weights

METRICS = ("alpha", "weighted alpha", "log norm")
_KEYS = ("alpha", "alpha_weighted", "log_norm")


def metrics_of(network: Any) -> NDArray[np.float64]:
    """Run WeightWatcher on a model of the network's dense and convolutional layers.

    ``min_evals=1``: with its default of 8 eigenvalues it leaves out layers that are this small.

    Parameters
    ----------
    network : model or state dict
        Whatever `read_weights` takes.

    Returns
    -------
    ndarray of shape (3,)
        NaN where it gives none.
    """
    import torch
    import weightwatcher

    logging.getLogger("weightwatcher").setLevel(logging.CRITICAL)
    weights = read_weights(network)
    if not weights.is_finite:
        return np.full(len(METRICS), np.nan)
    modules: list[Any] = []
    for layer in weights.layers:
        kernel = torch.from_numpy(np.array(layer.kernel, np.float32))
        if kernel.ndim == 2:
            module: Any = torch.nn.Linear(kernel.shape[1], kernel.shape[0])
        elif kernel.ndim == 4:
            module = torch.nn.Conv2d(kernel.shape[1], kernel.shape[0], tuple(kernel.shape[2:]))
        else:
            continue
        module.weight.data = kernel
        modules.append(module)
    model = torch.nn.Sequential(*modules)
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        watcher = weightwatcher.WeightWatcher(model=model, log_level=logging.CRITICAL)
        try:
            summary = watcher.get_summary(watcher.analyze(model=model, min_evals=1))
        except (ValueError, IndexError, KeyError, TypeError, ZeroDivisionError):
            summary = {}  # no power law fits to so few eigenvalues
    return np.array([float(summary.get(key, np.nan)) for key in _KEYS])
