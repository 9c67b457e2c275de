"""Collect what the report shows beside scores: errors, intervals, importances, family check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.evaluation.importance import (
    coarse_groups,
    fine_groups,
    group_importances,
)

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
    from accuracy_from_weights.zoo.table import ZooTable

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Rows = NDArray[np.intp]

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Coverages at which intervals are asked for."""

_MOST_ROWS = 500
"""Networks a fold for the importances, and of each other data set: enough for two digits."""


@dataclass(frozen=True)
class Importance:
    """How much a predictor relies on a group of features.

    Attributes
    ----------
    name : str
    n_features : int
    increase : float
        Rise of the mean absolute error when the group is shuffled, in units of accuracy; the mean
        over the folds.
    lowest, highest : float
        Over the folds.
    """

    name: str
    n_features: int
    increase: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class OtherDataset:
    """Scores of the networks of a data set that the predictor was not fitted to.

    Attributes
    ----------
    dataset : str
    n_rows : int
        Networks asked for, all folds together.
    share_outside : float
        Of them outside the family, a fraction.
    error_inside, error_outside : float
        Mean absolute errors in units of accuracy, NaN where there is none.
    """

    dataset: str
    n_rows: int
    share_outside: float
    error_inside: float
    error_outside: float


@dataclass(frozen=True, eq=False)
class Inspection:
    """Estimates, intervals and importances on one data set's n scored networks.

    Attributes
    ----------
    dataset : str
    truth, predicted : ndarray of shape (n,)
        Fractions in [0, 1].
    runs : ndarray of shape (n,)
    steps : ndarray of shape (n,)
        Epochs trained.
    p_values : ndarray of shape (n,)
        Of the family check, in (0, 1].
    in_family : ndarray of shape (n,), bool
    intervals : ndarray of shape (n, len(LEVELS), 2)
        Low and high ends at each of `LEVELS`.
    coarse, fine : tuple of Importance
        By part of the network and by what is measured, the largest first.
    other_datasets : tuple of OtherDataset
        One entry for each other data set; empty where none was asked for.
    """

    dataset: str
    truth: Floats
    predicted: Floats
    runs: NDArray[Any]
    steps: Floats
    p_values: Floats
    in_family: Booleans
    intervals: Floats
    coarse: tuple[Importance, ...]
    fine: tuple[Importance, ...]
    other_datasets: tuple[OtherDataset, ...]

    @property
    def errors(self) -> Floats:
        """Estimates minus true accuracies, shape (n,)."""
        return self.predicted - self.truth


class Inspector:
    """Inspect each fitted predictor; pass it to `cross_validate` as ``inspect``.

    Parameters
    ----------
    table : ZooTable
        The one that is cross-validated.
    other_datasets : bool
        Whether to ask each predictor for networks of the other data sets as well. Only where it
        was not fitted to them. Defaults to False.
    random_state : int
        Seed of shuffles and samples. Defaults to 0.
    """

    def __init__(
        self, table: ZooTable, other_datasets: bool = False, random_state: int = 0
    ) -> None:
        self.table = table
        self.other_datasets = other_datasets
        self.random_state = random_state
        self._seen: dict[str, list[dict[str, Any]]] = {}

    def __call__(
        self, dataset: str, predictor: AccuracyPredictor, features: NDArray[Any], rows: Rows
    ) -> None:
        """Inspect one fitted predictor.

        Parameters
        ----------
        dataset : str
        predictor : AccuracyPredictor
        features : ndarray of shape (len(table), d)
            What the predictor sees of each network.
        rows : ndarray of int
            Networks that it was not fitted to and is scored on.
        """
        X, truth = features[rows], np.asarray(self.table.accuracy, dtype=np.float64)
        names = _names(predictor, self.table, features.shape[1])
        sample = rows[np.isfinite(features[rows]).all(axis=1)]
        sample = self._sample(sample)
        found: dict[str, Any] = {
            "rows": rows,
            "predicted": predictor.predict(X),
            "p_values": predictor.family_p_values(X),
            "in_family": predictor.in_family(X),
            "intervals": np.stack(
                [predictor.predict_interval(X, level) for level in LEVELS], axis=1
            ),
        }
        for kind, groups in (("coarse", coarse_groups(names)), ("fine", fine_groups(names))):
            found[f"{kind}_sizes"] = {name: len(columns) for name, columns in groups.items()}
            found[kind] = group_importances(
                predictor,
                features[sample],
                truth[sample],
                groups,
                random_state=self.random_state,
            )
        found["other_datasets"] = self._ask_other_datasets(dataset, predictor, features)
        self._seen.setdefault(dataset, []).append(found)

    def inspections(self) -> list[Inspection]:
        """Return one `Inspection` for each data set, in the order of the calls."""
        return [self._inspection(dataset, folds) for dataset, folds in self._seen.items()]

    def _inspection(self, dataset: str, folds: Sequence[dict[str, Any]]) -> Inspection:
        def joined(key: str) -> NDArray[Any]:
            return np.concatenate([fold[key] for fold in folds])

        rows = joined("rows")
        return Inspection(
            dataset,
            np.asarray(self.table.accuracy, dtype=np.float64)[rows],
            joined("predicted"),
            self.table.runs[rows],
            np.asarray(self.table.steps, dtype=np.float64)[rows],
            joined("p_values"),
            joined("in_family"),
            joined("intervals"),
            _over_folds(folds, "coarse"),
            _over_folds(folds, "fine"),
            _pooled_datasets(folds),
        )

    def _sample(self, rows: Rows) -> Rows:
        if len(rows) <= _MOST_ROWS:
            return rows
        generator = np.random.default_rng(self.random_state)
        return np.sort(generator.choice(rows, _MOST_ROWS, replace=False))

    def _ask_other_datasets(
        self, dataset: str, predictor: AccuracyPredictor, features: NDArray[Any]
    ) -> dict[str, tuple[Floats, Booleans]]:
        """Return absolute errors and family membership for a sample of each other data set."""
        if not self.other_datasets:
            return {}
        datasets, truth = np.asarray(self.table.datasets), np.asarray(self.table.accuracy)
        answers = {}
        for other in np.unique(datasets[datasets != dataset]):
            rows = self._sample(np.flatnonzero((datasets == other) & np.isfinite(truth)))
            if len(rows):
                errors = np.abs(predictor.predict(features[rows]) - truth[rows])
                answers[str(other)] = (errors, predictor.in_family(features[rows]))
        return answers


def _names(predictor: AccuracyPredictor, table: ZooTable, n_features: int) -> Sequence[str]:
    for names in (predictor.feature_names_, table.feature_names):
        if len(names) == n_features:
            return names
    return [f"feature {k}" for k in range(n_features)]


def _over_folds(folds: Sequence[dict[str, Any]], kind: str) -> tuple[Importance, ...]:
    found = []
    for name, size in folds[0][f"{kind}_sizes"].items():
        increases = [fold[kind][name] for fold in folds]
        found.append(
            Importance(name, size, float(np.mean(increases)), min(increases), max(increases))
        )
    return tuple(sorted(found, key=lambda importance: -importance.increase))


def _pooled_datasets(folds: Sequence[dict[str, Any]]) -> tuple[OtherDataset, ...]:
    found = []
    for other in folds[0]["other_datasets"]:
        errors = np.concatenate([fold["other_datasets"][other][0] for fold in folds])
        inside = np.concatenate([fold["other_datasets"][other][1] for fold in folds])
        means = [
            float(errors[part].mean()) if part.any() else float("nan") for part in (inside, ~inside)
        ]
        found.append(OtherDataset(other, len(errors), float(np.mean(~inside)), *means))
    return tuple(found)
