"""Files of network weights: one module a format, chosen by the file's extension.

A folder stands for the checkpoint in it, and one file of several for all of them.

No reader runs code from a file, follows a file's links to other files, or allocates what a file
merely declares.
"""

from __future__ import annotations

import importlib
import os
import stat
import zipfile

from accuracy_from_weights.errors import AccuracyFromWeightsError, UnsupportedModelError, first_line
from accuracy_from_weights.io.archives import DamagedArchiveError
from accuracy_from_weights.weights.checkpoints import check_one_network
from accuracy_from_weights.weights.files.errors import damaged, unreadable
from accuracy_from_weights.weights.files.folders import weights_in
from accuracy_from_weights.weights.files.shards import index_of, parts_of_index
from accuracy_from_weights.weights.found_layers import Part

_READERS = {
    ".keras": "keras_archive",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".pt": "pickled",
    ".pth": "pickled",
    ".ckpt": "pickled",
    ".bin": "pickled",
    ".pt2": "exported",
    ".safetensors": "safetensors",
    ".npz": "npz",
}

EXTENSIONS = tuple(_READERS)
"""Of the files that can be read."""

_REFUSED = {
    ".onnx": "a graph that was exported; give the weights of the model it was exported from",
    ".tflite": "a graph that was exported; give the weights of the model it was exported from",
    ".pb": "a graph of TensorFlow; load the model and save it as .keras",
    ".jit": "TorchScript, which holds code; save the model's state_dict() instead",
    ".torchscript": "TorchScript, which holds code; save the model's state_dict() instead",
    ".pkl": "a pickle, which may run code; save the model's state_dict() instead",
    ".joblib": "a pickle, which may run code; save arrays in an .npz file instead",
    ".msgpack": "Flax's serialisation; restore it, and pass the parameters",
    ".gguf": "the quantised blocks of llama.cpp; give the model they were made from",
    ".distcp": "a piece of a distributed checkpoint of PyTorch; make one file of the pieces first",
}
"""Formats that cannot be read here, by extension, and what to do."""

_SIGNATURES = {
    "keras_archive": (b"PK\x03\x04",),
    "hdf5": (b"\x89HDF\r\n\x1a\n",),
    "pickled": (b"PK\x03\x04", b"\x80"),
    "exported": (b"PK\x03\x04",),
    "npz": (b"PK\x03\x04", b"PK\x05\x06"),
}
"""What a file of the format begins with; ``.safetensors`` begins with a length."""


def parts_of_file(
    path: str | os.PathLike[str] | os.PathLike[bytes], part: str | None = None
) -> list[Part]:
    """Return the parts of a saved network, in order; errors are those of `read_weights`."""
    name = os.fsdecode(os.fspath(path))
    try:
        parts = _parts(name, part)
        check_one_network(parts)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{name}: {error}") from None
    except AccuracyFromWeightsError:
        raise
    except DamagedArchiveError as error:
        raise damaged(name, str(error)) from None
    except zipfile.BadZipFile:
        raise damaged(name, "it is damaged or truncated") from None
    except MemoryError:
        raise unreadable(name, "reading it needs more memory than there is") from None
    except Exception as error:  # noqa: BLE001  # a broken file may break a parser anywhere
        raise unreadable(
            name,
            f"it is damaged or of another format than its name says ({first_line(error)}); "
            "save or download it again",
        ) from None
    return parts


def _parts(name: str, part: str | None) -> list[Part]:
    place = weights_in(name, EXTENSIONS) if os.path.isdir(name) else name
    index = index_of(place)
    if index is not None:
        _check_file(index)
        return parts_of_index(index, part)
    reader = _reader(place)
    _check_file(place)
    _check_signature(place, reader)
    if place != name and reader == "hdf5":
        from accuracy_from_weights.weights.files.keras_archive import parts_of_folder

        return parts_of_folder(place, part)
    module = importlib.import_module(f"{__name__}.{reader}")
    parts: list[Part] = module.parts_of_file(place, part)
    return parts


def _reader(name: str) -> str:
    extension = os.path.splitext(name)[1].lower()
    if extension in _REFUSED and os.path.exists(name):
        raise unreadable(name, f"{extension} files hold {_REFUSED[extension]}")
    if extension not in _READERS:
        raise unreadable(
            name,
            f"its extension {extension!r} is not known; the formats that can be read are "
            + ", ".join(_READERS),
        )
    return _READERS[extension]


def _check_file(name: str) -> None:
    try:
        status = os.stat(name)
    except FileNotFoundError:
        raise unreadable(name, "it does not exist") from None
    except (OSError, ValueError) as error:
        raise unreadable(name, f"it cannot be opened ({first_line(error)})") from None
    if not stat.S_ISREG(status.st_mode):
        raise unreadable(name, "it is not an ordinary file")
    if status.st_size == 0:
        raise damaged(name, "it is empty")


def _check_signature(name: str, reader: str) -> None:
    signatures = _SIGNATURES.get(reader)
    try:
        with open(name, "rb") as file:
            start = file.read(16)
    except OSError as error:
        raise unreadable(name, f"it cannot be opened ({first_line(error)})") from None
    if signatures is None or start.startswith(signatures):
        return
    holds = ""
    if start.startswith(b"\x89HDF"):
        holds = "; it holds HDF5 data, as files named .h5 do"
    elif start.startswith(b"PK"):
        holds = "; it holds a zip archive, as files named .keras, .npz or .pt do"
    extension = os.path.splitext(name)[1]
    raise unreadable(name, f"it is no {extension} file, whatever its name says{holds}")
