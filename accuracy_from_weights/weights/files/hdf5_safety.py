"""HDF5 without its traps: links to other places and files, and datasets that unpack absurdly."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from accuracy_from_weights.errors import UntrustedFileError
from accuracy_from_weights.weights.files.limits import check_size, unreadable


def children(path: str, group: Any) -> dict[str, Any]:
    """Members of a group by name, in the file's order.

    Raises
    ------
    UntrustedFileError
        When one is a link to another place or another file.
    UnreadableFileError
        When the item is no group.
    """
    import h5py

    if not isinstance(group, h5py.Group):
        raise unreadable(path, "in which a value stands where a layer is expected")
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise _untrusted(path, f"in which {name!r} links to another place or file")
    return {name: group[name] for name in group}


def read_dataset(path: str, dataset: Any, size: int) -> np.ndarray[Any, Any]:
    """Read one dataset.

    Parameters
    ----------
    path : str
    dataset : h5py.Dataset
    size : int
        Of the file, in bytes.

    Raises
    ------
    UntrustedFileError
        When its values lie in another file.
    UnreadableFileError
        When it declares an absurd size, or is no dataset.
    """
    import h5py

    if not isinstance(dataset, h5py.Dataset):
        raise unreadable(path, "in which a group stands where values are expected")
    if dataset.external or dataset.is_virtual:
        raise _untrusted(path, f"in which the values of {dataset.name!r} lie in another file")
    shape = dataset.shape or ()
    declared = prod(shape) * dataset.dtype.itemsize
    check_size(path, declared, min(dataset.id.get_storage_size(), size), repr(dataset.name))
    values = np.asarray(dataset[()])
    is_bfloat16 = dataset.attrs.get("dtype") == "bfloat16"
    if is_bfloat16 and values.dtype.itemsize == 2 and values.dtype.kind in "Vui":
        return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return values


def _untrusted(path: str, what: str) -> UntrustedFileError:
    return UntrustedFileError(
        "Expected a file that holds its own values. "
        f"Received: {path!r}, {what}; save the model again with Keras."
    )
