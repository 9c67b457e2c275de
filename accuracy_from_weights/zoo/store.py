"""A zoo on disk, written network by network, so that a kill loses no finished network.

A folder holds::

    zoo.json              what is being built: recipes, data set, seed, format version
    networks/000123.npz   one network: recipe, checkpoints, history, library versions
    .lock                 held by the one process that writes; freed by the system when it ends

A network's file appears whole or not at all (see `io.atomic`). What has its final name is complete,
so that resuming is skipping what is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.io.atomic import replacing
from accuracy_from_weights.zoo.network_file import (
    StoredNetwork,
    decode,
    encode,
    read_header,
)

FORMAT_VERSION = 1
PLAN_FILE = "zoo.json"
_LOCK_FILE = ".lock"
_NETWORKS = "networks"


class ZooStore:
    """The folder of one zoo.

    Reading needs no lock. Writing is done inside ``with store.writing():``, which one process at a
    time can enter.

    Parameters
    ----------
    folder : str or Path
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.networks = self.folder / _NETWORKS

    @staticmethod
    def is_store(folder: str | Path) -> bool:
        """Return whether the folder holds a zoo of this format."""
        return (Path(folder) / PLAN_FILE).is_file()

    def plan(self) -> dict[str, Any]:
        """Return what is being built, as given to `begin`.

        A folder that holds no zoo, or one of a later format, raises `ZooError`.
        """
        path = self.folder / PLAN_FILE
        try:
            plan = json.loads(path.read_text(encoding="utf-8"))
            version = plan["format_version"]
            if not isinstance(plan.get("recipe", {}), dict):
                raise TypeError("a recipe that is no object")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ZooError(
                f"{self.folder} is not a zoo that this package built ({PLAN_FILE} and "
                f"{_NETWORKS}/): {type(error).__name__} ({error}). Name another folder."
            ) from error
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise ZooError(
                f"The zoo in {self.folder} has format version {version}, and this release reads "
                f"up to {FORMAT_VERSION}. Install a newer accuracy-from-weights."
            )
        return dict(plan)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """Yield what writes networks, and hold the folder's lock until the block is done.

        On entering, another process that is writing to the folder raises `ZooError`.
        """
        try:
            self.networks.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / _LOCK_FILE).open("ab")
        except OSError as error:
            raise self._cannot_write(error) from error
        with lock:  # closing the file frees the lock
            try:
                is_ours = _try_lock(lock)
            except OSError as error:
                raise self._cannot_write(error) from error
            if not is_ours:
                raise ZooError(
                    f"Another process is building the zoo in {self.folder}. Wait for it to end, "
                    "or choose another folder."
                )
            for leftover in self.networks.glob("*.tmp"):
                leftover.unlink(missing_ok=True)
            yield Writer(self)

    def _cannot_write(self, error: OSError) -> ZooError:
        return ZooError(f"Networks cannot be written to {self.folder}: {error.strerror}.")

    def indices(self) -> list[int]:
        """Return the numbers of the finished networks, in rising order."""
        if not self.networks.is_dir():
            return []
        names = (path.stem for path in self.networks.glob("*.npz"))
        return sorted(int(name) for name in names if name.isdigit())

    def path(self, index: int) -> Path:
        """Return the path of the network of this number."""
        return self.networks / f"{index:06d}.npz"

    def read(self, index: int) -> StoredNetwork:
        """Read one network; `ZooError` when its file is missing or damaged."""
        return decode(self.path(index))

    def headers(self) -> Iterator[dict[str, Any]]:
        """Yield the header of each network in rising order; `ZooError` when a file is damaged."""
        for index in self.indices():
            yield read_header(self.path(index))


class Writer:
    """The one process that writes to a store."""

    def __init__(self, store: ZooStore) -> None:
        self.store = store

    def begin(self, plan: dict[str, Any]) -> None:
        """Record what is being built; `ZooError` when the folder holds a zoo of another plan."""
        plan = json.loads(json.dumps({"format_version": FORMAT_VERSION, **plan}))
        if ZooStore.is_store(self.store.folder):
            found = self.store.plan()
            different = sorted(
                key for key in plan.keys() | found.keys() if plan.get(key) != found.get(key)
            )
            if different:
                key = different[0]
                raise ZooError(
                    f"The zoo in {self.store.folder} was begun with another "
                    f"{' and '.join(different)}: "
                    f"{key} is {found.get(key)} there and {plan.get(key)} now. Give the same, or "
                    "choose another folder."
                )
        else:
            self._write(self.store.folder / PLAN_FILE, json.dumps(plan, indent=1).encode())

    def missing(self, n_networks: int) -> list[int]:
        """Return the numbers below `n_networks` that are still to be trained, in rising order.

        A file that is no complete archive (a disk that lied about having written it) counts as
        missing and is removed.
        """
        complete = set()
        for index in self.store.indices():
            if zipfile.is_zipfile(self.store.path(index)):
                complete.add(index)
            else:
                self.store.path(index).unlink()
        return [index for index in range(n_networks) if index not in complete]

    def add(self, network: StoredNetwork, dtype: str = "float32") -> None:
        """Write one network under its index; when this returns, it is on the disk.

        Half precision halves the files; a network with weights beyond its range keeps its own
        precision. A full disk, or a file that cannot be written, raises `ZooError`, and nothing of
        it is left then.
        """
        self._write(self.store.path(int(network.header["index"])), encode(network, dtype))

    def _write(self, path: Path, content: bytes) -> None:
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise ZooError(
                f"{path} ({len(content)} bytes) cannot be written: {error.strerror}. "
                f"The {len(self.store.indices())} networks written before are safe: make room and "
                "give the same command again to go on."
            ) from error


def _try_lock(file: IO[bytes]) -> bool:
    """Return whether this process got the lock of the open file.

    The system frees such a lock when its process ends, however it ends, so that none goes stale.
    """
    if os.name == "nt":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # exists on Windows only
        except PermissionError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
