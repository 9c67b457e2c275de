"""Weights of a table's networks, from the folders that `zoo build` wrote."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from accuracy_from_weights.zoo.network_file import StoredNetwork
from accuracy_from_weights.zoo.sources import open_source
from accuracy_from_weights.zoo.store import ZooStore


def zoo_folders(roots: list[Path]) -> list[Path]:
    """Find zoos in folders and up to two levels below."""
    below = [folder for root in roots for folder in (root, *root.glob("*"), *root.glob("*/*"))]
    return [folder for folder in dict.fromkeys(sorted(below)) if ZooStore.is_store(folder)]


@functools.cache
def run_names(folder: Path) -> dict[str, int]:
    """Give the number in the zoo of each run, by the name that a table of the zoo has for it."""
    names = dict.fromkeys(open_source(folder).metrics.runs.tolist())
    return dict(zip(names, ZooStore(folder).indices(), strict=True))


def networks_of(folder: Path, wanted: set[str]) -> Iterator[tuple[str, StoredNetwork]]:
    """Yield the name of the run and the network, for the wanted runs of a zoo."""
    for name, index in run_names(folder).items():
        if name in wanted:
            yield name, ZooStore(folder).read(index)
