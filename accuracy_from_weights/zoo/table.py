"""A zoo as a table: for each checkpoint its features, accuracies, run and recipe."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.features.feature_sets import feature_names
from accuracy_from_weights.features.log_columns import log_columns
from accuracy_from_weights.features.probes.answers import PROBE_NAMES
from accuracy_from_weights.features.training_sample.answers import SAMPLE_NAMES
from accuracy_from_weights.zoo.joining import join, tell_runs_apart
from accuracy_from_weights.zoo.packing import Column
from accuracy_from_weights.zoo.table_file import check_columns, no_table, read_table, write_table

Floats = NDArray[np.floating[Any]]

SCORES = ("accuracy", "loss", "train_accuracy", "train_loss", "log_accuracy", "log_loss")
"""What is measured of each checkpoint."""
_ROW_ARRAYS = (
    "features",
    "paper_statistics",
    "probes",
    "sample",
    "runs",
    "datasets",
    "steps",
    *SCORES,
)
_ANSWERS = ("probes", "sample")
_OPTIONAL = ("paper_statistics", *_ANSWERS)
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
    probes : ndarray of shape (n, len(probe_names)), float32, or None
        Answers to synthetic inputs, see `probes.answers`; rows of NaN for networks that could not
        be run, None when none was.
    sample : ndarray of shape (n, len(sample_names)), float32, or None
        Answers on training examples, see `features.training_sample`, as `probes`.
    probe_names, sample_names : tuple of str
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
    probes: NDArray[np.float32] | None = None
    probe_names: tuple[str, ...] = PROBE_NAMES
    sample: NDArray[np.float32] | None = None
    sample_names: tuple[str, ...] = SAMPLE_NAMES

    def __post_init__(self) -> None:
        for name in ("log_accuracy", "log_loss"):
            if not getattr(self, name).size:
                object.__setattr__(self, name, np.full(len(self.runs), np.nan))
        columns = {name: getattr(self, name) for name in _ROW_ARRAYS} | self.hyperparameters
        lengths = {name: len(column) for name, column in columns.items() if column is not None}
        if set(lengths.values()) - {len(self.runs)} or self.features.ndim != 2:
            raise ZooError(f"The columns of a table differ in length: {lengths}.")
        if self.features.shape[1] != len(self.feature_names):
            raise ZooError(
                f"A table has {len(self.feature_names)} names for {self.features.shape[1]} "
                "features."
            )
        for name, names in (("probes", self.probe_names), ("sample", self.sample_names)):
            matrix = getattr(self, name)
            if matrix is not None and matrix.shape[1:] != (len(names),):
                raise ZooError(
                    f"A table has {len(names)} names for {name} of shape {matrix.shape}."
                )

    def __len__(self) -> int:
        return len(self.runs)

    def subset(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> ZooTable:
        """Return some rows, given as a mask or as numbers; the fingerprint stays the same."""
        arrays = {name: getattr(self, name) for name in _ROW_ARRAYS}
        kept: dict[str, Any] = {
            name: None if array is None else array[rows] for name, array in arrays.items()
        }
        for name in _OPTIONAL:
            if kept[name] is not None and np.isnan(kept[name]).all():
                kept[name] = None
        hyperparameters = {name: values[rows] for name, values in self.hyperparameters.items()}
        return dataclasses.replace(self, **kept, hyperparameters=hyperparameters)

    def having(self, features: str) -> ZooTable:
        """Return the rows of which is known all that a feature set reads of a network.

        Rows of diverged networks, whose weights are not finite, stay: nothing more can be known of
        them.
        """
        kept = ~np.isfinite(self.features).all(axis=1)
        known = np.ones(len(self), bool)
        for name in _ANSWERS:
            answers = getattr(self, name)
            if name in features and answers is not None:
                known &= np.isfinite(answers).all(axis=1)
        return self if (kept | known).all() else self.subset(kept | known)

    def thinned(self, most: int) -> ZooTable:
        """Return the table with at most so many checkpoints of each run.

        Parameters
        ----------
        most : int
            At least 1. The last checkpoint of each run stays; of the others some are drawn.
        """
        return self.subset(thinned_rows(self.runs, self.steps, most))

    @property
    def domains(self) -> NDArray[np.str_]:
        """Data set and kind of architecture of each checkpoint, shape (n, 2): see `fit`."""
        blank = np.full(len(self), "")
        names = "family", "dnn_architecture"
        family, kind = (self.hyperparameters.get(name, blank).astype(str) for name in names)
        return np.stack([self.datasets, np.char.add(np.char.add(family, " "), kind)], axis=1)

    @property
    def tasks(self) -> NDArray[np.str_]:
        """Task of each checkpoint, shape (n,): the recipe's ``task``, or else the data set."""
        tasks = self.hyperparameters.get("task", self.datasets)
        return np.where(tasks == "", self.datasets, tasks.astype(str))

    def inputs(self, features: str = "weights", *, logs: str = "reported") -> NDArray[np.float32]:
        """Return the columns that a predictor reads, one row for each checkpoint.

        Parameters
        ----------
        features : str, default "weights"
            One of `FEATURE_SETS`.
        logs : {"reported", "mixed"}
            Training accuracy and loss as the training loop reported them, with dropout on and
            averaged over the epoch, or, for half of the checkpoints, as evaluated after the epoch;
            for all where the zoo holds no reported ones. A predictor that is fitted to both
            understands both.

        Returns
        -------
        ndarray of shape (n, len(feature_names(features))), float32
            Columns as `features.sets.feature_names` names them. NaN where a single checkpoint
            lacks something, as an untrained one lacks a log.

        Raises
        ------
        ZooError
            When there is no such choice, or the zoo lacks it altogether.
        """
        feature_names(features)  # refuses what is no choice
        columns = [self.features]
        if "probes" in features:
            if self.probes is None or self.probe_names != PROBE_NAMES:
                lack = "none" if self.probes is None else "those of another version"
                raise ZooError(
                    f"features={features!r} needs answers to probes, and the zoo has {lack}. "
                    "Describe the zoo anew (zoo describe --probes)."
                )
            columns.append(self.probes)
        if "log" in features:
            accuracy, loss = self.log_accuracy, self.log_loss
            if logs == "mixed":
                share = 0.5 if np.isfinite(accuracy).any() else 1.0
                evaluated = np.random.default_rng(0).random(len(self)) < share
                evaluated &= np.isfinite(self.train_accuracy)
                accuracy = np.where(evaluated, self.train_accuracy, accuracy)
                loss = np.where(evaluated, self.train_loss, loss)
            log = log_columns(accuracy, loss, self.hyperparameters.get("n_train"))
            if np.isnan(log[:, :2]).all(axis=0).any():
                raise ZooError(
                    f"features={features!r} needs the training log, which the zoo does not hold. "
                    "Choose other features or another zoo."
                )
            columns.append(log)
        if "sample" in features:
            if self.sample is None or self.sample_names != SAMPLE_NAMES:
                lack = "no" if self.sample is None else "another version's"
                raise ZooError(
                    f"The zoo holds {lack} answers on training examples, which "
                    f"features={features!r} reads. Describe it anew (zoo describe --sample DATA)."
                )
            columns.append(self.sample)
        return np.concatenate(columns, axis=1, dtype=np.float32)

    def save(self, path: str | Path, compact: bool = False) -> None:
        """Write the table to one compressed ``.npz`` file without pickled objects.

        The file appears whole or not at all.

        Parameters
        ----------
        path : str or Path
        compact : bool, default False
            Round features to a relative error of at most 1/256, which makes the file
            less than half as large.

        Raises
        ------
        ZooError
            When it cannot be written.
        """
        columns = {name: getattr(self, name) for name in _ROW_ARRAYS}
        columns |= {_RECIPE + name: values for name, values in self.hyperparameters.items()}
        head = {
            "feature_names": list(self.feature_names),
            "probe_names": list(self.probe_names),
            "sample_names": list(self.sample_names),
            "fingerprint": self.fingerprint,
        }
        known = {name: column for name, column in columns.items() if column is not None}
        write_table(Path(path), head, known, compact)

    @classmethod
    def load(cls, path: str | Path) -> ZooTable:
        """Read a table that `save` wrote.

        Raises
        ------
        UnreadableFileError
            When the file is missing, damaged, no table, or of a later version.
        """
        head, arrays = read_table(Path(path))
        recipe = {name[len(_RECIPE) :]: arrays.pop(name) for name in list(arrays) if "/" in name}
        try:
            table = cls(
                **{"paper_statistics": None, **arrays},
                feature_names=tuple(head["feature_names"]),
                probe_names=tuple(head.get("probe_names", PROBE_NAMES)),
                sample_names=tuple(head.get("sample_names", SAMPLE_NAMES)),
                hyperparameters=recipe,
                fingerprint=str(head["fingerprint"]),
            )
            check_columns({name: getattr(table, name) for name in _ROW_ARRAYS}, recipe)
        except (KeyError, TypeError, ValueError) as error:
            raise no_table(Path(path), error) from error
        return table


def thinned_rows(runs: NDArray[np.str_], steps: Floats, most: int) -> NDArray[np.intp]:
    """Return the rows that `ZooTable.thinned` keeps, ascending."""
    _, run = np.unique(runs, return_inverse=True)
    drawn = np.random.default_rng(0).random(len(runs))
    ends = np.lexsort((steps, run))
    drawn[ends[np.append(np.diff(run[ends]) != 0, True)]] = -1
    order = np.lexsort((drawn, run))
    place = np.arange(len(runs)) - np.searchsorted(run[order], run[order])
    return np.sort(order[place < most])


def concatenate(tables: Sequence[ZooTable], names: Sequence[str] | None = None) -> ZooTable:
    """Return one table of all rows of several tables.

    Each table's name, by default its number, is put before its runs where two of them call their
    runs by the same names. Tables without probes, or the paper's statistics, have rows of NaN in
    their place.

    Raises
    ------
    ZooError
        When their features or probes are not the same ones.
    """
    first = tables[0]
    probe_names = [table.probe_names for table in tables if table.probes is not None]
    sample_names = [table.sample_names for table in tables if table.sample is not None]
    if (
        any(table.feature_names != first.feature_names for table in tables)
        or max(len(set(probe_names)), len(set(sample_names))) > 1
    ):
        raise ZooError(
            "The tables have different features: different versions of accuracy-from-weights wrote "
            "them. Describe their zoos anew."
        )
    digests = "".join(table.fingerprint for table in tables)
    arrays: dict[str, Any] = {}
    lengths = [len(table) for table in tables]
    for name in _ROW_ARRAYS:
        columns = [getattr(table, name) for table in tables]
        if name == "runs":
            columns = tell_runs_apart(columns, names or [str(i) for i in range(len(tables))])
        arrays[name] = join(columns, lengths)
    recipe_names = dict.fromkeys(name for table in tables for name in table.hyperparameters)
    return ZooTable(
        **arrays,
        feature_names=first.feature_names,
        probe_names=probe_names[0] if probe_names else PROBE_NAMES,
        sample_names=sample_names[0] if sample_names else SAMPLE_NAMES,
        hyperparameters={
            name: join([table.hyperparameters.get(name) for table in tables], lengths)
            for name in recipe_names
        },
        fingerprint=hashlib.sha256(digests.encode()).hexdigest(),
    )
