"""Files of weights become rows of features, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import AccuracyFromWeightsError
from accuracy_from_weights.features.description import describe
from accuracy_from_weights.weights import NetworkWeights, read_weights, stack_networks

Row = NDArray[np.float32]

_STACKED = 2**16
"""Networks of more weights are described one at a time: they gain nothing, and fill the memory."""


def describe_files(files: Sequence[Path], device: str) -> list[Row | AccuracyFromWeightsError]:
    """Describe the networks in some files, those of one architecture together.

    Parameters
    ----------
    files : sequence of Path
        Few enough that small networks of them all fit into memory.
    device : str
        Where large layers are described, as PyTorch calls it.

    Returns
    -------
    list of ndarray and AccuracyFromWeightsError
        For each file its features, or the error that says why there are none.
    """
    rows: dict[int, Row | AccuracyFromWeightsError] = {}
    alike: dict[tuple[Any, ...], dict[int, NetworkWeights]] = {}
    for k, file in enumerate(files):
        found = _read(file)
        if isinstance(found, AccuracyFromWeightsError):
            rows[k] = found
        elif found.n_parameters > _STACKED:
            rows[k] = describe(_on_device(found, device))[0]
        else:
            alike.setdefault(found.architecture, {})[k] = found
    for networks in alike.values():
        rows |= zip(networks, describe(stack_networks([*networks.values()])), strict=True)
    return [rows[k] for k in range(len(files))]


def _read(file: Path) -> NetworkWeights | AccuracyFromWeightsError:
    try:
        return read_weights(file)
    except AccuracyFromWeightsError as error:
        return error


def _on_device(network: NetworkWeights, device: str) -> NetworkWeights:
    if device == "cpu":
        return network
    from accuracy_from_weights.weights.torch_devices import on_device

    return on_device(network, device)
