"""The loss that a Keras file says its model was compiled with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from accuracy_from_weights.io.archives import open_zip
from accuracy_from_weights.weights.files.hdf5_safety import SafeHdf5


def losses_of_file(path: str | os.PathLike[str]) -> list[str]:
    """Return the losses in a ``.keras`` or ``.h5`` file, one an output, by function or class.

    There are none in another format, of a model that was never compiled, and in a damaged file, of
    which the reader of its weights tells.
    """
    name = os.fspath(path)
    try:
        return list(_names(_compiled(name).get("loss")))
    except Exception:  # noqa: BLE001  # a broken file may break a parser anywhere
        return []


def _compiled(path: str) -> Mapping[str, Any]:
    """Return what a model was compiled with."""
    extension = os.path.splitext(path)[1].lower()
    if extension == ".keras":
        with open_zip(path) as archive:
            config: Any = json.loads(archive.read("config.json"))
        return config.get("compile_config") or {}
    if extension in (".h5", ".hdf5"):
        with SafeHdf5(path) as file:
            text = file.root.attrs.get("training_config")
        return json.loads(text) if text else {}
    return {}


def _names(loss: Any) -> Iterator[str]:
    if isinstance(loss, str):
        yield loss
    elif isinstance(loss, Mapping) and isinstance(loss.get("class_name"), str):
        name, inner = loss["class_name"], loss.get("config")
        yield inner if name == "function" and isinstance(inner, str) else str(name)
    elif isinstance(loss, Mapping | list):
        for one in loss.values() if isinstance(loss, Mapping) else loss:
            yield from _names(one)
