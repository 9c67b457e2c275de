"""Large kernels of a network on a device of PyTorch, to be described there."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from accuracy_from_weights.errors import InvalidArgumentError, first_line, needs
from accuracy_from_weights.weights.device_arrays import SMALL, DeviceArray
from accuracy_from_weights.weights.layers import Array, Layer, NetworkWeights


def check_device(name: str) -> None:
    """Check that PyTorch can compute on a device.

    Parameters
    ----------
    name : str
        As PyTorch calls it: "cpu", "cuda", "cuda:1", "mps"...

    Raises
    ------
    InvalidArgumentError
        When there is no such device here, or when it holds no values.
    MissingDependencyError
        When PyTorch is not installed.
    """
    with needs(f"Computing on {name!r} needs PyTorch", extra="torch"):
        import torch
    try:
        reason = None if (torch.ones(2, device=name) * 2).tolist() == [2, 2] else "wrong values"
    except Exception as error:  # noqa: BLE001  # a driver may raise anything here
        reason = first_line(error)
    if reason is not None:
        raise InvalidArgumentError(
            f"PyTorch cannot compute on {name!r} here ({reason}); choose a device such as cpu, "
            "cuda, cuda:1 or mps."
        )


def on_device(network: NetworkWeights, name: str) -> NetworkWeights:
    """Send a network's large kernels to a device, as float32.

    Parameters
    ----------
    network : NetworkWeights
    name : str
        Of a device that `check_device` has passed.
    """
    return NetworkWeights(tuple(_sent(layer, name) for layer in network.layers))


def _sent(layer: Layer, name: str) -> Layer:
    import torch

    if layer.stored.size <= SMALL:
        return layer
    with np.errstate(over="ignore"):  # what has diverged is an infinity
        kernel = np.ascontiguousarray(layer.stored, np.float32)
    stored = DeviceArray(torch.tensor(kernel, device=name))
    return replace(layer, stored=cast(Array, stored))
