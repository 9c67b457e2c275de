"""Reading of ``.keras`` archives: a configuration as JSON, and the weights as HDF5.

Only the names of classes and their numbers are taken from the configuration: nothing in it is
made into an object, so that a Lambda layer's code stays text.
"""

from __future__ import annotations

import io
import json
import os
import zipfile

from accuracy_from_weights.io.archives import check_members
from accuracy_from_weights.weights.checkpoints import parts_under
from accuracy_from_weights.weights.files.errors import damaged, unreadable
from accuracy_from_weights.weights.files.hdf5 import parts_of_store
from accuracy_from_weights.weights.files.hdf5_safety import SafeHdf5
from accuracy_from_weights.weights.files.keras_config import layer_config
from accuracy_from_weights.weights.found_layers import Part

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


def parts_of_file(path: str, size: int, part: str | None = None) -> list[Part]:
    """Return the kernels and normalisations in the order of the model's configuration."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, size)
            missing = {_CONFIG, _WEIGHTS} - {*archive.namelist()}
            if missing:
                raise unreadable(path, f"it is an archive without {min(missing)!r}")
            config = layer_config(json.loads(archive.read(_CONFIG)))
            weights = io.BytesIO(archive.read(_WEIGHTS))
    except zipfile.BadZipFile:
        raise damaged(path, "it is damaged or truncated") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise damaged(path, f"its {_CONFIG!r} is damaged") from None
    with SafeHdf5(path, len(weights.getbuffer()), weights) as file:
        parts = parts_of_store(file, config)
    return parts if part is None else parts_under(parts, part)


def parts_of_folder(path: str, part: str | None = None) -> list[Part]:
    """Return the kernels and normalisations of an archive that was never packed.

    ``keras.saving.save_model(..., zipped=False)`` and KerasHub write such folders.

    Parameters
    ----------
    path : str
        Of the file of weights in the folder; the configuration is taken from beside it.
    part : str, optional
        As in `read_weights`.
    """
    beside = os.path.join(os.path.dirname(path), _CONFIG)
    config = None
    if os.path.isfile(beside) and os.path.basename(path) == _WEIGHTS:
        try:
            with open(beside, encoding="utf-8") as file:
                config = layer_config(json.load(file))
        except (ValueError, RecursionError):
            raise damaged(beside, "it is damaged") from None
    with SafeHdf5(path, os.path.getsize(path)) as weights:
        parts = parts_of_store(weights, config)
    return parts if part is None else parts_under(parts, part)
