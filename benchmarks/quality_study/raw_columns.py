"""What the study takes from raw weights: WeightWatcher's metrics, and tensors for `nfn`."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from joblib import Memory
from numpy.typing import NDArray

from accuracy_from_weights.zoo.table import ZooTable

from .raw_zoos import networks_of, run_names, zoo_folders
from .splits import final_mask
from .weight_watcher import METRICS, metrics_of

_NO_WEIGHTS = "No folder with raw weights was given (--zoos)."


@dataclass(frozen=True, eq=False)
class Tensors:
    """Weights of some rows of a table.

    Attributes
    ----------
    rows : ndarray of shape (k,)
    values : list of ndarray of shape (k, ...)
        Kernel, bias, kernel, bias, ...
    """

    rows: NDArray[np.intp]
    values: list[NDArray[np.float32]]


class Raw:
    """Raw weights of a table's networks.

    Parameters
    ----------
    table : ZooTable
    roots : list of Path
        Folders with zoos that `zoo build` wrote.
    memory : Memory
        Of finished metrics.
    sample : int
        Runs of each zoo that WeightWatcher looks at.
    datasets : list of str
        Those on whose paper networks the equivariant network is trained.
    steps : int
        For which it is trained.

    Attributes
    ----------
    watched : ndarray of shape (n_rows, 3)
        WeightWatcher's metrics of last checkpoints, NaN where not computed.
    left_out : dict of str to str
        Columns that there are not, and why.
    """

    def __init__(
        self,
        table: ZooTable,
        roots: list[Path],
        memory: Memory,
        sample: int,
        datasets: list[str],
        steps: int,
    ) -> None:
        self.table, self.steps = table, steps
        self.folders = zoo_folders(roots)
        self.left_out: dict[str, str] = {}
        for column, module in (("WeightWatcher", "weightwatcher"), ("nfn", "nfn")):
            if not self.folders or find_spec(module) is None:
                why = f"{module} is not installed." if self.folders else _NO_WEIGHTS
                self.left_out[column] = why
        self.watched = np.full((len(table), len(METRICS)), np.nan)
        if "WeightWatcher" not in self.left_out:
            for folder in self.folders:
                self._watch(folder, memory, sample)
        self._datasets = [] if "nfn" in self.left_out else datasets
        self._tensors: dict[str, Tensors | None] = {}

    def _watch(self, folder: Path, memory: Memory, sample: int) -> None:
        finals = np.flatnonzero(final_mask(self.table))
        rows = {str(run): row for run, row in zip(self.table.runs[finals], finals, strict=True)}
        inside = sorted(rows.keys() & run_names(folder), key=lambda run: zlib.crc32(run.encode()))
        for name, network in networks_of(folder, set(inside[:sample])):
            step = self.table.steps[rows[name]]
            last = int(np.argmin(np.abs(np.array(network.header["steps"]) - step)))
            self.watched[rows[name]] = memory.cache(metrics_of)(network.state_dict(last))

    def tensors(self, dataset: str) -> Tensors | None:
        """Read the weights of all checkpoints of a data set's paper networks, once."""
        if dataset not in self._datasets:
            return None
        if dataset not in self._tensors:
            self._tensors[dataset] = self._read(dataset)
        return self._tensors[dataset]

    def _read(self, dataset: str) -> Tensors | None:
        table = self.table
        chosen = np.flatnonzero(table.datasets == dataset)
        place = {(str(table.runs[row]), round(float(table.steps[row]), 6)): row for row in chosen}
        rows, kept = [], []
        for folder in self.folders:
            for name, network in networks_of(folder, {run for run, _ in place}):
                for i, step in enumerate(network.header["steps"]):
                    row = place.get((name, round(float(step), 6)))
                    state = network.state_dict(i)
                    if row is not None and all(np.isfinite(v).all() for v in state.values()):
                        rows.append(row)
                        kept.append([np.asarray(v, np.float32) for v in _paired(state)])
        if not rows:
            return None
        return Tensors(np.array(rows), [np.stack(values) for values in zip(*kept, strict=True)])


def _paired(state: dict[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    """Kernel, bias, kernel, bias, ... in the order of the layers."""
    kernels = [name for name in state if name.endswith(".weight")]
    return [state[stem + end] for k in kernels for stem in [k[:-6]] for end in ("weight", "bias")]
