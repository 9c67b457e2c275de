"""Finished fits on disk, so that a study that was killed goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.io.atomic import replacing

Said = dict[str, NDArray[Any]]


class Cache:
    """A folder with one small JSON file a fit, named by all that the fit depends on.

    Parameters
    ----------
    folder : Path or None
        None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, parts: list[Any], compute: Callable[[], Said]) -> Said:
        """Give what was computed before, or compute and keep it.

        Parameters
        ----------
        name : str
            For whoever looks into the folder.
        parts : list of ndarray or str
            Everything that the result depends on.
        compute : callable
            Gives arrays of numbers by name.
        """
        if self.folder is None:
            return compute()
        digest = hashlib.sha256()
        for part in parts:
            array = np.ascontiguousarray(part)
            digest.update(f"{array.dtype} {array.shape} ".encode())
            digest.update(array.tobytes())
        path = self.folder / f"{name.replace(' ', '_')}-{digest.hexdigest()[:16]}.json"
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            return {key: np.array(values, np.float64) for key, values in kept.items()}
        said = compute()
        text = json.dumps({key: np.round(values, 6).tolist() for key, values in said.items()})
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return said
