"""One interface to all kinds of zoo: metrics by row, weights in pieces.

A piece is small enough for memory and is described by whichever process takes it: it says where
to read, and holds no weights itself.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import UnsupportedModelError, ZooError
from accuracy_from_weights.weights.layers import NetworkStack, NetworkWeights, stack_networks
from accuracy_from_weights.zoo.metrics import MEASURED, Floats, ZooMetrics
from accuracy_from_weights.zoo.network_file import StoredNetwork
from accuracy_from_weights.zoo.published import (
    CHUNK_ROWS,
    Variable,
    hash_rows,
    is_published_folder,
    open_published,
    read_chunk,
)
from accuracy_from_weights.zoo.rebuilding.stored_networks import (
    RunnableNetworks,
    runnable_stack,
    runnable_stored,
)
from accuracy_from_weights.zoo.store import ZooStore

_NETWORKS_A_PIECE = 32
# Hyperparameters of the published format that tell how to run a network.
_HOW_TO_RUN = ("activation", "dataset", "image_size")

Rows = NDArray[np.intp]


class Piece(Protocol):
    """Some rows of a zoo."""

    def stacks(self, kept: NDArray[np.bool_]) -> Iterator[tuple[Rows, NetworkStack]]:
        """Yield networks of one architecture each, with their rows in the zoo.

        Those that ``kept``, a mask of all rows of the zoo, leaves out may be missing.
        """
        ...

    def runnable(self) -> Iterator[RunnableNetworks]:
        """Yield those of the networks that can be run."""
        ...

    def digest(self) -> bytes:
        """Return the SHA-256 of the bytes that hold the weights."""
        ...


@dataclass(frozen=True, eq=False)
class ZooSource:
    """A zoo that can be read.

    Attributes
    ----------
    name : str
        Of its folder; names the data set where the metrics do not.
    metrics : ZooMetrics
    pieces : tuple of Piece
        Together they hold each row once.
    n_diverged : int or None
        Networks that diverged; None where that is not recorded.
    """

    name: str
    metrics: ZooMetrics
    pieces: tuple[Piece, ...]
    n_diverged: int | None = None


def is_source(folder: Path) -> bool:
    """Return whether the folder itself (not one inside it) is a zoo."""
    return ZooStore.is_store(folder) or is_published_folder(folder)


def open_source(folder: Path) -> ZooSource:
    """Open a zoo that this package built, or one in the published format.

    What is neither, is damaged, or holds no network raises `ZooError`.
    """
    return _open_store(folder) if ZooStore.is_store(folder) else _open_published(folder)


@dataclass(frozen=True, eq=False)
class _PublishedPiece:
    """Some rows of a published zoo, and the hyperparameters of these rows that tell how to run."""

    folder: Path
    layout: tuple[Variable, ...]
    start: int
    stop: int
    recipe: dict[str, NDArray[np.generic]]

    def stacks(self, kept: NDArray[np.bool_]) -> Iterator[tuple[Rows, NetworkStack]]:
        yield self._stack()

    def _stack(self) -> tuple[Rows, NetworkStack]:
        rows = np.arange(self.start, self.stop)
        return rows, read_chunk(self.folder, self.layout, self.start, self.stop)

    def runnable(self) -> Iterator[RunnableNetworks]:
        dataset = self.folder.resolve().name
        rows, stack = self._stack()
        yield from runnable_stack(stack, rows, self.recipe, dataset)

    def digest(self) -> bytes:
        return hash_rows(self.folder, self.start, self.stop)


def _open_published(folder: Path) -> ZooSource:
    zoo = open_published(folder)
    recipe = zoo.metrics.recipe
    pieces = []
    for start in range(0, len(zoo.metrics), CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, len(zoo.metrics))
        known = {name: recipe[name][start:stop] for name in _HOW_TO_RUN if name in recipe}
        pieces.append(_PublishedPiece(folder, zoo.layout, start, stop, known))
    return ZooSource(folder.resolve().name, zoo.metrics, tuple(pieces))


@dataclass(frozen=True)
class _StorePiece:
    """Some networks of a store: their numbers, and the row of each one's first checkpoint."""

    folder: Path
    networks: tuple[tuple[int, int], ...]

    def stacks(self, kept: NDArray[np.bool_]) -> Iterator[tuple[Rows, NetworkStack]]:
        from accuracy_from_weights.weights import read_weights

        store = ZooStore(self.folder)
        alike: dict[tuple[Any, ...], tuple[list[int], list[NetworkWeights]]] = {}
        for index, first_row in self.networks:
            network = store.read(index)
            n = len(network.header["steps"])
            for checkpoint in np.flatnonzero(kept[first_row : first_row + n]).tolist():
                try:
                    weights = read_weights(network.state_dict(checkpoint))
                except UnsupportedModelError as error:
                    raise ZooError(f"Network {index} of {self.folder}: {error}") from error
                rows, networks = alike.setdefault(weights.architecture, ([], []))
                rows.append(first_row + checkpoint)
                networks.append(weights)
        for rows, networks in alike.values():
            yield np.array(rows), stack_networks(networks)

    def runnable(self) -> Iterator[RunnableNetworks]:
        store = ZooStore(self.folder)
        for index, first_row in self.networks:
            network = store.read(index)
            of_kind = runnable_stored if network.header["recipe"] else _runnable_imported
            yield from of_kind(network, first_row)

    def digest(self) -> bytes:
        store = ZooStore(self.folder)
        digest = hashlib.sha256()
        for index, _ in self.networks:
            digest.update(hashlib.sha256(store.path(index).read_bytes()).digest())
        return digest.digest()


def _runnable_imported(network: StoredNetwork, first_row: int) -> Iterator[RunnableNetworks]:
    """Return a runnable network that was imported from the published format."""
    from accuracy_from_weights.weights import read_weights

    known = network.header["hyperparameters"]
    k = len(network.header["steps"])
    recipe = {name: np.repeat(column_of([known[name]]), k) for name in _HOW_TO_RUN if name in known}
    stack = stack_networks([read_weights(network.state_dict(i)) for i in range(k)])
    yield from runnable_stack(stack, np.arange(first_row, first_row + k), recipe, "")


def _open_store(folder: Path) -> ZooSource:
    store = ZooStore(folder)
    plan = store.plan()
    headers = list(store.headers())
    if not headers:
        raise ZooError(f"{folder} holds no finished network. Build it first (zoo build).")
    counts = [len(header["steps"]) for header in headers]
    first_rows = np.cumsum([0, *counts[:-1]]).tolist()
    networks = tuple(zip((int(header["index"]) for header in headers), first_rows, strict=True))
    pieces = tuple(
        _StorePiece(folder, networks[start : start + _NETWORKS_A_PIECE])
        for start in range(0, len(networks), _NETWORKS_A_PIECE)
    )
    diverged = [header["diverged"] for header in headers]
    n_diverged = None if None in diverged else sum(diverged)
    metrics = _metrics_of(headers, counts, plan)
    return ZooSource(folder.resolve().name, metrics, pieces, n_diverged)


def _metrics_of(
    headers: list[dict[str, Any]], counts: list[int], plan: dict[str, Any]
) -> ZooMetrics:
    """Return the metrics of all networks; each recipe is repeated for its checkpoints."""

    def history(name: str) -> Floats:
        return np.array([value for header in headers for value in header["history"][name]], float)

    settings = [header["hyperparameters"] for header in headers]
    recipe = {
        name: np.repeat(column_of([own.get(name) for own in settings]), counts)
        for name in dict.fromkeys(itertools.chain(*settings))
    }
    # Two zoos of one data set may be read together: seed and family keep their runs apart.
    family = plan.get("recipe", {}).get("family", "")
    runs = [
        header.get("run")
        or f"{own.get('dataset', '')}/{family}-{plan.get('seed', 0)}/{header['index']:06d}"
        for header, own in zip(headers, settings, strict=True)
    ]
    digest = hashlib.sha256(repr(sorted(plan.items())).encode()).hexdigest()
    return ZooMetrics(
        runs=np.repeat(np.array(runs), counts),
        steps=np.array([step for header in headers for step in header["steps"]], float),
        **{name: history(name) for name in MEASURED},
        recipe=recipe,
        digest=digest,
    )


def column_of(values: list[Any]) -> NDArray[np.generic]:
    """Return hyperparameters as numbers (NaN if missing) or strings (empty if missing)."""
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else str(value) for value in values])
    return np.array(values, float)
