"""A zoo as a table: one row a checkpoint, its features beside what is known of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import UnreadableFileError, ZooError
from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.zoo.describing import Described, describe_pieces
from accuracy_from_weights.zoo.packing import Column, pack, unpack
from accuracy_from_weights.zoo.sources import ZooSource, is_source, open_source

TABLE_VERSION = 1

Floats = NDArray[np.floating[Any]]

_ROW_ARRAYS = (
    "features",
    "paper_statistics",
    "runs",
    "datasets",
    "steps",
    "accuracy",
    "loss",
    "train_accuracy",
    "train_loss",
    "log_accuracy",
    "log_loss",
)
_RECIPE = "recipe/"


def _nothing() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class ZooTable:
    """Checkpoints of a zoo whose test accuracy is known.

    Attributes
    ----------
    features : ndarray of shape (n, d), float32
        Description of the weights, see `features.description`.
    feature_names : tuple of str, length d
    paper_statistics : ndarray of shape (n, 56), float32, or None
        The statistics of Unterthiner et al. (2020); rows of NaN for networks of another
        architecture than the paper's, None when all are of another.
    runs : ndarray of shape (n,), str
        The training run of each checkpoint: never split one between training and testing.
    datasets : ndarray of shape (n,), str
    steps : ndarray of shape (n,)
        Epochs trained.
    accuracy, loss : ndarray of shape (n,)
        On test images: fraction in [0, 1], and mean cross-entropy in nats (NaN where unknown).
    train_accuracy, train_loss : ndarray of shape (n,)
        The same on the training images, NaN where unknown.
    hyperparameters : dict of str to ndarray of shape (n,)
        Numbers (NaN where missing) or strings (empty where missing).
    fingerprint : str
        SHA-256 over all that was read, as hexadecimal digits.
    log_accuracy, log_loss : ndarray of shape (n,)
        What a training loop reports of its epoch for free, NaN where unknown.
    """

    features: NDArray[np.float32]
    feature_names: tuple[str, ...]
    paper_statistics: NDArray[np.float32] | None
    runs: NDArray[np.str_]
    datasets: NDArray[np.str_]
    steps: Floats
    accuracy: Floats
    loss: Floats
    train_accuracy: Floats
    train_loss: Floats
    hyperparameters: dict[str, Column]
    fingerprint: str
    log_accuracy: Floats = field(default_factory=_nothing)
    log_loss: Floats = field(default_factory=_nothing)

    def __post_init__(self) -> None:
        for name in ("log_accuracy", "log_loss"):
            if not getattr(self, name).size:
                object.__setattr__(self, name, np.full(len(self.runs), np.nan))
        columns = {name: getattr(self, name) for name in _ROW_ARRAYS} | self.hyperparameters
        lengths = {name: len(column) for name, column in columns.items() if column is not None}
        if set(lengths.values()) - {len(self.runs)} or self.features.ndim != 2:
            raise ZooError(f"Expected columns of one length in a table. Received: {lengths}.")
        if self.features.shape[1] != len(self.feature_names):
            raise ZooError(
                f"Expected a name for each feature of a table. Received: "
                f"{len(self.feature_names)} names for {self.features.shape[1]} features."
            )

    def __len__(self) -> int:
        return len(self.runs)

    def subset(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> ZooTable:
        """Keep some rows, given as a mask or as numbers; the fingerprint stays the whole zoo's."""
        arrays = {name: getattr(self, name) for name in _ROW_ARRAYS}
        kept: dict[str, Any] = {
            name: None if array is None else array[rows] for name, array in arrays.items()
        }
        paper = kept["paper_statistics"]
        if paper is not None and np.isnan(paper).all():
            kept["paper_statistics"] = None
        hyperparameters = {name: values[rows] for name, values in self.hyperparameters.items()}
        return dataclasses.replace(self, **kept, hyperparameters=hyperparameters)

    def save(self, path: str | Path, compact: bool = False) -> None:
        """Write the table to one compressed ``.npz`` file without pickled objects.

        The file appears whole or not at all.

        Parameters
        ----------
        path : str or Path
        compact : bool, default False
            Round features to a relative error of at most 1/4096, which halves the file.

        Raises
        ------
        ZooError
            When it cannot be written.
        """
        path = Path(path)
        columns = {name: getattr(self, name) for name in _ROW_ARRAYS}
        columns |= {_RECIPE + name: values for name, values in self.hyperparameters.items()}
        arrays: dict[str, Any] = {}
        for name, column in columns.items():
            if column is not None:
                arrays |= pack(name, column, rounded=compact)
        head = {
            "table_version": TABLE_VERSION,
            "feature_names": list(self.feature_names),
            "fingerprint": self.fingerprint,
        }
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                content = np.frombuffer(json.dumps(head).encode(), np.uint8)
                np.savez_compressed(file, head=content, **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise ZooError(
                f"Expected to write a table to {path}. Received: {error.strerror}."
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> ZooTable:
        """Read a table that `save` wrote.

        Raises
        ------
        UnreadableFileError
            When the file is missing, damaged, no table, or of a later version.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                head = json.loads(file["head"].tobytes())
                version = head["table_version"]
                if version > TABLE_VERSION:
                    raise UnreadableFileError(
                        f"Expected a table of version {TABLE_VERSION} or older in {path}. "
                        f"Received: version {version}. Install a newer accuracy-from-weights."
                    )
                arrays: dict[str, Any] = unpack(
                    {name: file[name] for name in file.files if name != "head"}
                )
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            if isinstance(error, UnreadableFileError):
                raise
            raise UnreadableFileError(
                f"Expected {path} to be a table that describes a zoo. "
                f"Received: {type(error).__name__} ({error})."
            ) from error
        recipe = {name[len(_RECIPE) :]: arrays.pop(name) for name in list(arrays) if "/" in name}
        return cls(
            **{"paper_statistics": None, **arrays},
            feature_names=tuple(head["feature_names"]),
            hyperparameters=recipe,
            fingerprint=head["fingerprint"],
        )


def read_zoo(
    path: str | Path, n_jobs: int = 1, progress: Callable[[int, int], None] | None = None
) -> ZooTable:
    """Read a zoo and describe the weights of each checkpoint.

    Parameters
    ----------
    path : str or Path
        A folder in the published format, a folder that this package built, a table that was saved,
        or a folder of such.
    n_jobs : int, default 1
        Processes to describe weights in; -1 for one a core.
    progress : callable, optional
        Called with the checkpoints described and their number in all.

    Returns
    -------
    ZooTable
        Checkpoints whose accuracy is unknown (the network had diverged) are left out. The same
        whatever `n_jobs` is.

    Raises
    ------
    ZooError
        When there is no zoo, it is damaged, or no accuracy is known.
    UnreadableFileError
        When a table is damaged.
    """
    path = Path(path)
    if path.is_file():
        return _current(path, ZooTable.load(path))
    if not path.is_dir():
        raise ZooError(f"Expected a folder or a table with a zoo. Received: {path}, not found.")
    if is_source(path):
        return _describe_sources([open_source(path)], n_jobs, progress)[0]
    folders = sorted(folder for folder in path.iterdir() if is_source(folder))
    files = sorted(path.glob("*.npz"))
    if not folders and not files:
        raise ZooError(
            f"Expected {path} to be a zoo: a folder with weights.npy, metrics.csv.gz and "
            f"layout.csv, one that zoo build wrote, a table, or a folder of such. Received: none."
        )
    tables = [_current(file, ZooTable.load(file)) for file in files]
    tables += _describe_sources([open_source(folder) for folder in folders], n_jobs, progress)
    if len(tables) == 1:
        return tables[0]
    return concatenate(tables, [file.stem for file in files] + [folder.name for folder in folders])


def _describe_sources(
    sources: list[ZooSource], n_jobs: int, progress: Callable[[int, int], None] | None
) -> list[ZooTable]:
    total = sum(len(source.metrics) for source in sources)
    done = 0

    def count(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, total)

    count(0)
    return [_table_of(source, describe_pieces(source, n_jobs, count)) for source in sources]


def _table_of(source: ZooSource, described: Described) -> ZooTable:
    metrics = source.metrics
    known = ~np.isnan(metrics.test_accuracy)
    datasets: Any = metrics.recipe.get("dataset")
    if datasets is None or datasets.dtype.kind != "U":
        datasets = np.full(len(metrics), source.name)
    if not known.any():
        raise ZooError(f"Expected {source.name} to hold at least one network that did not diverge.")
    table = ZooTable(
        features=described.features,
        feature_names=described.feature_names,
        paper_statistics=described.paper_statistics,
        runs=metrics.runs,
        datasets=datasets,
        steps=metrics.steps,
        accuracy=metrics.test_accuracy,
        loss=metrics.test_loss,
        train_accuracy=metrics.train_accuracy,
        train_loss=metrics.train_loss,
        hyperparameters=metrics.recipe,
        fingerprint=described.fingerprint,
        log_accuracy=metrics.log_accuracy,
        log_loss=metrics.log_loss,
    )
    return table if known.all() else table.subset(known)


def _current(path: Path, table: ZooTable) -> ZooTable:
    if table.feature_names != FEATURE_NAMES:
        raise ZooError(
            f"Expected a table with the {len(FEATURE_NAMES)} features of this version. Received: "
            f"{path}, whose features are others; describe its zoo anew (zoo describe)."
        )
    return table


def _tell_runs_apart(tables: Sequence[ZooTable], names: Sequence[str]) -> Sequence[ZooTable]:
    """Put the folder's name before the runs where zoos use the same names for their runs."""
    seen: set[str] = set()
    for table in tables:
        runs = set(np.unique(table.runs).tolist())
        if runs & seen:
            return [
                dataclasses.replace(table, runs=np.char.add(f"{name}/", table.runs))
                for table, name in zip(tables, names, strict=True)
            ]
        seen |= runs
    return tables


def concatenate(tables: Sequence[ZooTable], names: Sequence[str] | None = None) -> ZooTable:
    """Put tables below each other.

    Parameters
    ----------
    tables : sequence of ZooTable
        At least one.
    names : sequence of str, optional
        A name for each, put before its runs where two of them call their runs by the same names.
        Defaults to their numbers.

    Raises
    ------
    ZooError
        When their features are not the same ones.
    """
    first = tables[0]
    if any(table.feature_names != first.feature_names for table in tables):
        raise ZooError(
            "Expected tables with the same features. Received: tables that different versions of "
            "accuracy-from-weights wrote; describe their zoos anew."
        )
    tables = _tell_runs_apart(tables, names or [str(i) for i in range(len(tables))])
    digests = "".join(table.fingerprint for table in tables)
    arrays: dict[str, Any] = {}
    for name in _ROW_ARRAYS:
        if name == "paper_statistics":
            continue
        arrays[name] = np.concatenate([getattr(table, name) for table in tables])
    recipe_names = dict.fromkeys(name for table in tables for name in table.hyperparameters)
    return ZooTable(
        **arrays,
        feature_names=first.feature_names,
        paper_statistics=_join_paper(tables),
        hyperparameters={name: _join_recipe(tables, name) for name in recipe_names},
        fingerprint=hashlib.sha256(digests.encode()).hexdigest(),
    )


def _join_paper(tables: Sequence[ZooTable]) -> NDArray[np.float32] | None:
    widths = [t.paper_statistics.shape[1] for t in tables if t.paper_statistics is not None]
    if not widths:
        return None
    return np.concatenate(
        [
            np.full((len(table), widths[0]), np.nan, np.float32)
            if table.paper_statistics is None
            else table.paper_statistics
            for table in tables
        ]
    )


def _join_recipe(tables: Sequence[ZooTable], name: str) -> Column:
    columns = [table.hyperparameters.get(name) for table in tables]
    if any(column is not None and column.dtype.kind == "U" for column in columns):
        return np.concatenate(
            [
                np.full(len(table), "") if column is None else column.astype(str)
                for table, column in zip(tables, columns, strict=True)
            ]
        )
    return np.concatenate(
        [
            np.full(len(table), np.nan) if column is None else column.astype(np.float64)
            for table, column in zip(tables, columns, strict=True)
        ]
    )
