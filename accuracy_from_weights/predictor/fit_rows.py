"""The rows and settings that a fit gets, checked, as two frozen objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accuracy_from_weights.errors import InvalidArgumentError, ZooError
from accuracy_from_weights.features.describing import describe_network
from accuracy_from_weights.features.feature_sets import GRAPH_NAMES, feature_names

Floats = NDArray[np.float64]
Features = NDArray[np.float32]
RowNumbers = NDArray[np.intp]

FEWEST_RUNS = 10
"""Fewer training runs are too few for an interval, let alone for a predictor."""

FEWEST_TASKS = 8
"""Fewer tasks are too few to be the unit of folds and intervals: then it is the runs."""

_LARGEST_TASK = 100
"""Times the runs of the median task."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FitRows:
    """Networks of known accuracy, a row each.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features), float32
        A run's rows stand in the order of its training.
    y : ndarray of shape (n_rows,)
        Test accuracies, fractions in [0, 1].
    runs : ndarray of shape (n_rows,)
        The training run of each row.
    guess : ndarray of shape (n_rows,)
        Accuracies that the models correct, fractions; zeros where there is no first guess.
    tasks : ndarray of shape (n_rows,), or None
        The task that each network was trained for, where new tasks are what estimates are for.
    weights : ndarray of shape (n_rows,), or None
        How much each row counts in the fit, with a mean of 1; None where all count the same.
    domains : ndarray of shape (n_rows,) or (n_rows, k), or None
        Data set, kind of architecture, and the like.
    progress : ndarray of shape (n_rows,), or None
        Share of the run's planned training that is done, fractions.
    finals : ndarray of shape (n_rows,), or None
        The accuracy that each row's run ended with, fractions.
    """

    X: Features
    y: Floats
    runs: NDArray[Any]
    guess: Floats
    tasks: NDArray[Any] | None = None
    weights: Floats | None = None
    domains: NDArray[Any] | None = None
    progress: Floats | None = None
    finals: Floats | None = None

    @classmethod
    def of(
        cls,
        X: Features,
        y: ArrayLike,
        *,
        guess: Floats,
        runs: ArrayLike | None = None,
        tasks: ArrayLike | None = None,
        domains: ArrayLike | None = None,
        progress: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> FitRows:
        """Return checked rows; see `AccuracyPredictor.fit` for the parameters.

        Raises
        ------
        ZooError
            When lengths differ, an accuracy or a progress is no fraction, or a weight is not above
            0.
        """
        truth, n = np.asarray(y, float).ravel(), len(X)
        names = np.arange(len(truth)) if runs is None else np.asarray(runs)
        if not n == len(truth) == len(names):
            raise ZooError(
                f"{n} networks, {len(truth)} accuracies and {len(names)} runs do not belong "
                "together; pass one accuracy and one run for each network."
            )
        if not ((truth >= 0) & (truth <= 1)).all():
            raise ZooError(
                f"Accuracies from {truth.min():.3g} to {truth.max():.3g} are no fractions in "
                "[0, 1], or hold NaN; divide percentages by 100."
            )
        units = _checked_column("tasks", tasks, n)
        if units is not None and len(np.unique(units)) < FEWEST_TASKS:
            units = None
        done = _checked_column("progress", progress, n)
        return cls(
            X=X,
            y=truth,
            runs=names,
            guess=guess,
            tasks=units,
            weights=_weights(sample_weight, units, names, n),
            domains=_checked_column("domains", domains, n),
            progress=None if done is None else done.astype(float),
            finals=None if done is None else final_accuracies(truth, done, names),
        )

    def __len__(self) -> int:
        return len(self.y)

    @property
    def unit(self) -> str:
        """What the rows of a fold share: "task" where tasks are known, else "run"."""
        return "run" if self.tasks is None else "task"

    @property
    def units(self) -> NDArray[Any]:
        """Task or run of each row: never split between the two sides of a fold."""
        return self.runs if self.tasks is None else self.tasks

    def take(self, rows: RowNumbers | NDArray[np.bool_]) -> FitRows:
        """Return some of the rows, given as numbers or as a mask."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        kept: dict[str, Any] = {k: None if v is None else v[rows] for k, v in values.items()}
        return FitRows(**kept)


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How to fit; see the parameters of `AccuracyPredictor`.

    Attributes
    ----------
    coverage : float
    n_folds : int or None
    random_state : int
    n_jobs : int or None
    n_randomised : int
        Trees of the randomised kind, which are most of the time and of the file.
    corrects_estimates : bool
        Whether the rows' first guesses are a predictor's estimates, see `correcting`.
    knows_sample : bool
        Whether answers on a training sample are among the columns.
    """

    coverage: float = 0.9
    n_folds: int | None = None
    random_state: int = 0
    n_jobs: int | None = None
    n_randomised: int = 100
    corrects_estimates: bool = False
    knows_sample: bool = False

    def folds_for(self, rows: FitRows) -> int:
        """Return the number of folds for some rows.

        The fewer there are, the more an ensemble gains from each, and the more the errors of one
        that lacks a fold exceed those of the whole: intervals would come out too wide.
        """
        n_units = len(np.unique(rows.units))
        if self.n_folds is not None:
            return self.n_folds
        return min(n_units, 12 if n_units < 400 else 6 if n_units < 1_000 else 3)


def as_features(
    X: ArrayLike | Sequence[Any],
    features: str,
    input_shape: Sequence[int] | None = None,
    task: str | None = None,
) -> Features:
    """Return the rows of an array as scikit-learn passes it, or of a sequence of networks.

    Parameters
    ----------
    X : array-like of shape (n_networks, n_features), or sequence of networks
        A network is anything that `read_weights` takes; with probes, a model that can be called.
    features, input_shape, task
        See `describe_network`; the task is "multiclass" where it is known that all are classifiers.

    Returns
    -------
    ndarray of shape (n_networks, n_features), float32
        Without `GRAPH_NAMES`, which no predictor is fitted to.

    Raises
    ------
    InvalidArgumentError
        When `X` is neither.
    """
    n_graph = len(GRAPH_NAMES)
    n_with_graph = len(feature_names(features)) + n_graph
    if hasattr(X, "__array__") or (isinstance(X, Sequence) and len(X) and _is_numbers(X[0])):
        rows = np.asarray(X, np.float32)
        if rows.ndim == 2:
            return rows[:, :-n_graph] if rows.shape[1] == n_with_graph else rows
        given = f"An array of shape {rows.shape}"
    elif isinstance(X, Sequence) and not isinstance(X, str):
        if len(X):
            described = [
                describe_network(one, features, input_shape=input_shape, task=task) for one in X
            ]
            return np.concatenate(described)[:, :-n_graph]
        given = "An empty sequence"
    else:
        given = f"An object of type {type(X).__name__}"
    raise InvalidArgumentError(
        f"{given} holds no networks; pass an array of shape (n_networks, n_features) or a sequence "
        "of networks."
    )


def _is_numbers(row: Any) -> bool:
    return isinstance(row, Sequence) and all(isinstance(value, (int, float)) for value in row)


def fitted_columns(
    rows: Features, names: Sequence[str], fitted_names: Sequence[str], n_features: int
) -> Features:
    """Return the columns of fitted names, or all where the predictor's columns have no names.

    Raises
    ------
    InvalidArgumentError
        When the rows have another number of columns.
    """
    if fitted_names and rows.shape[1] == len(names) != n_features:
        # The predictor was fitted before further features were added.
        position = {name: k for k, name in enumerate(names)}
        return rows[:, [position[name] for name in fitted_names]]
    if rows.shape[1] != n_features:
        raise InvalidArgumentError(
            f"Rows of {rows.shape[1]} features do not suit this predictor, which reads "
            f"{n_features}; describe networks with describe_network."
        )
    return rows


def graph_columns(rows: ArrayLike, features: str) -> NDArray[np.bool_]:
    """Return what rows say of the networks' graphs, in the order of `GRAPH_NAMES`.

    The shape is (n_networks, 2). What is not known, as in rows of a zoo, is False.
    """
    given = np.asarray(rows, np.float32)
    if given.shape[1] != len(feature_names(features)) + len(GRAPH_NAMES):
        return np.zeros((len(given), len(GRAPH_NAMES)), bool)
    return np.asarray(given[:, -len(GRAPH_NAMES) :] == 1)


def know_sample(names: Sequence[str]) -> bool:
    """Return whether answers on a training sample are among the columns of these names."""
    return any(name.startswith("sample.") for name in names)


def as_models_read(rows: Features, names: Sequence[str]) -> Features:
    """Return rows with zeros in the columns that the models do not read.

    Where answers on a training sample are known, the models read them and the log alone: on tasks
    left out they err by less than with hundreds of statistics of the weights beside them. The
    other columns say what a network's condition is, and whether it is unlike the zoo's.
    """
    if not know_sample(names):
        return rows
    read = np.array([name.startswith(("log.", "sample.")) for name in names])
    return np.where(read, rows, np.float32(0))


def finite_rows(features: Features) -> NDArray[np.bool_]:
    """Return which rows are free of NaN and infinities, shape (n_networks,)."""
    return np.asarray(np.isfinite(features).all(axis=1), bool)


def check_number_of_runs(rows: FitRows) -> None:
    """Raise `ZooError` when rows are of too few training runs for a predictor."""
    n_runs = len(np.unique(rows.runs))
    if n_runs < FEWEST_RUNS:
        raise ZooError(
            f"{n_runs} training runs with finite weights are too few for a predictor; pass at "
            f"least {FEWEST_RUNS}, better a few hundred."
        )


def _checked_column(name: str, values: ArrayLike | None, n_rows: int) -> NDArray[Any] | None:
    """Return values as an array, or raise `ZooError` when there is not one for each row."""
    if values is None:
        return None
    column = np.asarray(values)
    if len(column) != n_rows:
        raise ZooError(
            f"`{name}` of length {len(column)} does not suit {n_rows} networks; pass one entry for "
            "each."
        )
    return column


def _weights(
    sample_weight: ArrayLike | None,
    tasks: NDArray[Any] | None,
    runs: NDArray[Any],
    n: int,
) -> Floats | None:
    """Return the weights that were passed, else those by which tasks count by their runs.

    A task of very many runs counts as 100 usual ones: a few large data sets would drown thousands
    of small tasks, and new tasks are what estimates are for.
    """
    weights = _checked_column("sample_weight", sample_weight, n)
    if weights is None:
        if tasks is None:
            return None
        _, task, n_rows = np.unique(tasks, return_inverse=True, return_counts=True)
        first_of_run = np.unique(runs, return_index=True)[1]
        n_runs = np.bincount(task[first_of_run], minlength=len(n_rows))
        counts = np.minimum(n_runs, _LARGEST_TASK * np.median(n_runs))
        weights = (counts / n_rows)[task]
    elif not (weights > 0).all():
        raise ZooError("A value of `sample_weight` is not above 0; leave such networks out.")
    return np.asarray(weights / weights.mean(), np.float64)


def final_accuracies(accuracies: ArrayLike, progress: ArrayLike, runs: ArrayLike) -> Floats:
    """Return the accuracy that each checkpoint's run ended with, of shape (n,).

    A run without its last checkpoint diverged before it: it ends where it began, with the accuracy
    of its first checkpoint. Progress is the share of planned training, NaN where unknown.

    Raises
    ------
    ZooError
        When lengths differ or progress is outside [0, 1].
    """
    truth, done = np.asarray(accuracies, float), np.asarray(progress, float)
    if done.shape != truth.shape or ((done < 0) | (done > 1)).any():
        raise ZooError(
            f"{len(done)} values of progress from {np.nanmin(done):.3g} to {np.nanmax(done):.3g} "
            f"do not suit {len(truth)} checkpoints; pass for each the share of its run's planned "
            "training that was done, from 0 to 1."
        )
    _, run = np.unique(np.asarray(runs), return_inverse=True)
    order = np.lexsort((done, run))
    starts = np.searchsorted(run[order], np.arange(run.max() + 1))
    first, last = order[starts], order[np.append(starts[1:], len(run)) - 1]
    return np.where(done[last] < 1, truth[first], truth[last])[run]
