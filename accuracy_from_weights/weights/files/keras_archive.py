"""Reading of ``.keras`` archives: a configuration as JSON, and the weights as HDF5.

Only the names of classes and their numbers are taken from the configuration: nothing in it is
made into an object, so that a Lambda layer's code stays text.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

from accuracy_from_weights.io.archives import open_zip
from accuracy_from_weights.weights.checkpoints import parts_under
from accuracy_from_weights.weights.files.errors import damaged, unreadable
from accuracy_from_weights.weights.files.hdf5 import parts_of_store
from accuracy_from_weights.weights.files.hdf5_safety import SafeHdf5
from accuracy_from_weights.weights.files.keras_config import LayerConfig, layer_config
from accuracy_from_weights.weights.found_layers import Part

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


def parts_of_file(path: str, part: str | None = None) -> list[Part]:
    """Return the parts in the order of the model's configuration."""
    with open_zip(path) as archive:
        missing = {_CONFIG, _WEIGHTS} - {*archive.namelist()}
        if missing:
            raise unreadable(path, f"it is an archive without {min(missing)!r}")
        config = _model_config(path, archive.read(_CONFIG))
        weights = io.BytesIO(archive.read(_WEIGHTS))
    with SafeHdf5(path, weights) as file:
        return parts_under(parts_of_store(file, config), part)


def parts_of_folder(path: str, part: str | None = None) -> list[Part]:
    """Return the parts of an archive that was never packed, by its file of weights.

    ``keras.saving.save_model(..., zipped=False)`` and KerasHub write such folders.
    """
    config = Path(path).with_name(_CONFIG)
    is_known = config.is_file() and Path(path).name == _WEIGHTS
    model = _model_config(str(config), config.read_bytes()) if is_known else LayerConfig()
    with SafeHdf5(path) as file:
        return parts_under(parts_of_store(file, model), part)


def _model_config(path: str, content: bytes) -> LayerConfig:
    try:
        return layer_config(json.loads(content))
    except (ValueError, RecursionError):
        raise damaged(path, "its configuration is damaged") from None
