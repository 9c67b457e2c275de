"""Safe reading of HDF5: no links to other places and files, no loops, no absurd datasets."""

from __future__ import annotations

import contextlib
import io
import mmap
from math import prod
from typing import Any

import numpy as np

from accuracy_from_weights.errors import UntrustedFileError, needs
from accuracy_from_weights.io.archives import check_expansion
from accuracy_from_weights.weights.files.errors import damaged, unreadable
from accuracy_from_weights.weights.files.hdf5_heaps import damaged_texts


class SafeHdf5:
    """An HDF5 file that is open for reading: that of a path, or the one in memory, as a context.

    Raises
    ------
    MissingDependencyError
        When h5py is not installed.
    UnreadableFileError
        When the file is truncated or no HDF5 file, or when reading its texts would take for ever
        or all memory.
    """

    def __init__(self, path: str, source: io.BytesIO | None = None) -> None:
        h5py = require_h5py(path)
        with contextlib.ExitStack() as stack:
            if source is None:
                file = stack.enter_context(open(path, "rb"))
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                content: bytes | mmap.mmap = stack.enter_context(mapped)
            else:
                content = source.getvalue()
            self._size = len(content)
            damage = damaged_texts(content)
        if damage is not None:
            raise damaged(path, f"it is damaged: {damage}")
        try:
            self.root = h5py.File(path if source is None else source, "r")
        except OSError:
            raise damaged(path, "it is truncated or no HDF5 file") from None
        self.path = path
        self._h5py = h5py
        self._declared = 0
        self._visited: set[int] = set()

    def __enter__(self) -> SafeHdf5:
        return self

    def __exit__(self, *error: object) -> None:
        self.root.close()

    def children(self, group: Any) -> dict[str, Any]:
        """Return the members of a group by name, in the file's order; links are refused."""
        if not isinstance(group, self._h5py.Group):
            raise unreadable(self.path, "a value stands where a layer is expected")
        for name in group:
            if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
                raise self._untrusted(f"{name!r} links to another place or file")
        return {name: group[name] for name in group}

    def visit(self, group: Any) -> dict[str, Any]:
        """Return a group's members, and refuse to do so twice: for a loop, or one layer twice."""
        address = self.address(group)
        if address in self._visited:
            raise unreadable(self.path, f"{group.name!r} stands in more than one place")
        self._visited.add(address)
        return self.children(group)

    def address(self, item: Any) -> int:
        """Return where in the file the metadata of a group or dataset begin, in bytes."""
        address: int = self._h5py.h5o.get_info(item.id).addr
        return address

    def read(self, dataset: Any) -> np.ndarray[Any, Any]:
        """Read a dataset, unless its values lie elsewhere or it, or all so far, are too large."""
        if not isinstance(dataset, self._h5py.Dataset):
            raise unreadable(self.path, "a group stands where values are expected")
        name = repr(dataset.name)
        if dataset.external or dataset.is_virtual:
            raise self._untrusted(f"the values of {name} lie in another file")
        declared = prod(dataset.shape or ()) * dataset.dtype.itemsize
        check_expansion(declared, min(dataset.id.get_storage_size(), self._size), name)
        self._declared += declared
        check_expansion(self._declared, self._size, "the file")
        values = np.asarray(dataset[()])
        is_bfloat16 = dataset.attrs.get("dtype") == "bfloat16"
        if is_bfloat16 and values.dtype.itemsize == 2 and values.dtype.kind in "Vui":
            return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        return values

    def last_address(self, item: Any) -> int:
        """Return where in the file the last piece of metadata of a group that was visited lies.

        A piece may be put into space that was free before, but the last one marks how far the
        file had grown.
        """
        address = self.address(item)
        if isinstance(item, self._h5py.Dataset) or address not in self._visited:
            return address
        return max([address, *map(self.last_address, self.children(item).values())])

    def _untrusted(self, what: str) -> UntrustedFileError:
        return UntrustedFileError(
            f"{self.path!r} does not hold its own values: {what}; save the model again with Keras."
        )


def require_h5py(path: str) -> Any:
    """Return the library, or raise `MissingDependencyError`."""
    with needs(f"Reading {path!r} needs h5py", extra="files"):
        import h5py
    return h5py
