"""One trained network as one ``.npz`` file: weights of its checkpoints, history, recipe, versions.

Arrays only (no pickle): ``header`` is JSON as bytes; ``weights/NAME`` is the tensor of that name in
a PyTorch state dict, with a leading axis, the checkpoints.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import math
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.io.archives import ArrayArchive, open_archive
from accuracy_from_weights.io.atomic import replacing
from accuracy_from_weights.zoo.metrics import MEASURED
from accuracy_from_weights.zoo.trained_network import TrainedNetwork

_PREFIX = "weights/"
_LARGEST_NUMBER = 1e300
_LIBRARIES = ("accuracy-from-weights", "numpy", "torch", "keras", "jax")


@dataclass(frozen=True, eq=False)
class StoredNetwork:
    """A network as it was read from its file.

    Attributes
    ----------
    header : dict
        ``index``, ``recipe`` (plain values), ``hyperparameters`` (flat), ``steps`` (epochs),
        ``history`` (lists, one value a checkpoint), ``diverged``, ``seconds``, ``made_by``,
        ``versions``; None where something is unknown.
    weights : mapping of str to ndarray
        Tensors of a PyTorch state dict, shape (n_checkpoints, ...).
    """

    header: dict[str, Any]
    weights: Mapping[str, NDArray[Any]]

    def state_dict(self, checkpoint: int) -> dict[str, NDArray[np.generic]]:
        """Return the weights of one checkpoint, by its place in ``header["steps"]``."""
        return {name: values[checkpoint] for name, values in self.weights.items()}


def from_training(network: TrainedNetwork, made_by: dict[str, str]) -> StoredNetwork:
    """Return what is stored of a trained network."""
    checkpoints = network.checkpoints
    header = {
        "index": network.recipe.index,
        "recipe": network.recipe.to_dict(),
        "hyperparameters": network.recipe.hyperparameters(),
        "steps": [float(checkpoint.step) for checkpoint in checkpoints],
        "history": {
            name: [finite_or_none(getattr(checkpoint, name)) for checkpoint in checkpoints]
            for name in MEASURED
        },
        "diverged": bool(network.diverged),
        "seconds": float(network.seconds),
        "made_by": made_by,
        "versions": library_versions(),
    }
    weights = {
        name: np.stack([np.asarray(checkpoint.weights[name]) for checkpoint in checkpoints])
        for name in checkpoints[0].weights
    }
    return StoredNetwork(header, weights)


def encode(network: StoredNetwork, dtype: str = "float32") -> bytes:
    """Return the bytes of a network's file, its weights as float32 or float16.

    Weights beyond the range of half precision keep the whole network in its own precision. Another
    `dtype` raises `ZooError`.
    """
    if dtype not in ("float32", "float16"):
        raise ZooError(f"Weights cannot be stored as {dtype!r}. Choose float32 or float16.")
    weights = network.weights
    if dtype == "float16" and all(_fits_half(values) for values in weights.values()):
        weights = {
            name: values.astype(np.float16) if values.dtype.kind == "f" else values
            for name, values in weights.items()
        }
    arrays = {_PREFIX + name: values for name, values in weights.items()}
    buffer = io.BytesIO()
    header = np.frombuffer(json.dumps(network.header, allow_nan=False).encode(), np.uint8)
    np.savez(buffer, header=header, **arrays)  # type: ignore[arg-type]  # numpy types the keywords as its own options
    return buffer.getvalue()


def decode(path: Path) -> StoredNetwork:
    """Read a network's file; `ZooError` when it is missing or damaged."""
    with _opened(path) as file:
        header = _header(file)
        weights = {
            name.removeprefix(_PREFIX): file[name]
            for name in file.names
            if name.startswith(_PREFIX)
        }
        n = len(header["steps"])
        if any(tensor.shape[:1] != (n,) or tensor.dtype.kind == "U" for tensor in weights.values()):
            raise ValueError("steps and weights differ in length")
        return StoredNetwork(header, weights)


def write_state_dict(weights: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write the last checkpoint of a network's weights as a plain ``.npz`` state dict.

    A name that does not end in ``.npz``, or a file that cannot be written, raises `ZooError`.
    """
    if path.suffix != ".npz":
        raise ZooError(f"The state dict's name must end in .npz, and {path} does not.")
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **{name: values[-1] for name, values in weights.items()})
    except OSError as error:
        raise ZooError(f"{path} cannot be written: {error.strerror}.") from error


def read_header(path: Path) -> dict[str, Any]:
    """Read recipe, history and versions from a network's file; `ZooError` as `decode`."""
    with _opened(path) as file:
        return _header(file)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[ArrayArchive]:
    try:
        with open_archive(path) as file:
            yield file
    except ValueError as error:
        if isinstance(error, ZooError):
            raise
        raise ZooError(
            f"{path} is not a complete network of a zoo: {type(error).__name__} ({error}). Remove "
            "the file and build again: only this network is trained anew."
        ) from error


@functools.cache
def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a network depends on."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _header(file: ArrayArchive) -> dict[str, Any]:
    header = file.json("header")
    steps, history, settings = (header.get(k) for k in ("steps", "history", "hyperparameters"))
    if not (
        isinstance(steps, list)
        and all(_is_number(step) for step in steps)
        and isinstance(history, dict)
        and all(_is_history(history.get(name), len(steps)) for name in MEASURED)
        and isinstance(settings, dict)
        and all(
            value is None or isinstance(value, str) or _is_number(value)
            for value in settings.values()
        )
        and _is_number(header.get("index"))
        and header["index"] == int(header["index"])
        and isinstance(header.get("recipe", "missing"), dict | None)
        and isinstance(header.get("run"), str | None)
        and header.get("diverged", "missing") in (True, False, None)
    ):
        raise ValueError("facts that are missing or of another type")
    return header


def _is_number(value: object) -> bool:
    """Return whether a value is a number that a float can hold."""
    return isinstance(value, int | float) and abs(value) < _LARGEST_NUMBER


def _is_history(values: object, length: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == length
        and all(value is None or _is_number(value) for value in values)
    )


def finite_or_none(value: float) -> float | None:
    """Return the number, or None for NaN and infinities, which JSON cannot hold."""
    return float(value) if math.isfinite(value) else None


def _fits_half(values: NDArray[np.generic]) -> bool:
    if values.dtype.kind != "f":
        return True
    finite = np.abs(values[np.isfinite(values)])
    return not finite.size or bool(finite.max() <= np.finfo(np.float16).max)
