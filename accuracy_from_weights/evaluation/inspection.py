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
from accuracy_from_weights.features.feature_sets import feature_names

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
    from accuracy_from_weights.zoo.table import ZooTable

Floats = NDArray[np.floating[Any]]
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
class FamilyErrors:
    """Errors of a data set's networks inside and outside the predictor's family.

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

    @classmethod
    def of(cls, dataset: str, errors: Floats, in_family: NDArray[Any]) -> FamilyErrors:
        """Sum up the absolute errors of networks, shape (n,), and whether each is in the family."""
        in_family = in_family.astype(bool)
        means = [
            float(errors[part].mean()) if part.any() else float("nan")
            for part in (in_family, ~in_family)
        ]
        return cls(dataset, len(errors), float(np.mean(~in_family)), *means)


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
    other_datasets : tuple of FamilyErrors
        One entry for each data set that the predictors were not fitted to; empty where none was
        asked for.
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
    other_datasets: tuple[FamilyErrors, ...]

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
        self._seen: dict[str, list[tuple[dict[str, Any], ...]]] = {}

    def __call__(
        self, dataset: str, predictor: AccuracyPredictor, features: NDArray[Any], rows: Rows
    ) -> None:
        """Inspect one fitted predictor; see `cross_validate` for the parameters."""
        X, table, names = features[rows], self.table, feature_names(predictor.features)
        arrays = {
            "truth": table.accuracy[rows],
            "predicted": predictor.predict(X),
            "runs": table.runs[rows],
            "steps": table.steps[rows],
            "p_values": predictor.family_p_values(X),
            "in_family": predictor.in_family(X),
            "intervals": np.stack(
                [predictor.predict_interval(X, level) for level in LEVELS], axis=1
            ),
        }
        sample = self._sample(rows[np.isfinite(X).all(axis=1)])
        importances = {}
        for kind, groups in (("coarse", coarse_groups(names)), ("fine", fine_groups(names))):
            rises = group_importances(
                predictor,
                features[sample],
                table.accuracy[sample],
                groups,
                random_state=self.random_state,
            )
            importances[kind] = [(name, len(groups[name]), rise) for name, rise in rises.items()]
        others = self._ask_other_datasets(dataset, predictor, features)
        self._seen.setdefault(dataset, []).append((arrays, importances, others))

    def inspections(self) -> list[Inspection]:
        """Return one `Inspection` for each data set, in the order of the calls."""
        found = []
        for dataset, folds in self._seen.items():
            arrays, importances, others = zip(*folds, strict=True)
            joined: dict[str, Any] = {
                key: np.concatenate([fold[key] for fold in arrays]) for key in arrays[0]
            }
            other_datasets = tuple(
                FamilyErrors.of(other, *np.concatenate([fold[other] for fold in others], axis=1))
                for other in others[0]
            )
            over_folds: dict[str, Any] = {
                kind: _over_folds([fold[kind] for fold in importances]) for kind in importances[0]
            }
            found.append(Inspection(dataset, **joined, **over_folds, other_datasets=other_datasets))
        return found

    def _sample(self, rows: Rows) -> Rows:
        if len(rows) <= _MOST_ROWS:
            return rows
        generator = np.random.default_rng(self.random_state)
        return np.sort(generator.choice(rows, _MOST_ROWS, replace=False))

    def _ask_other_datasets(
        self, dataset: str, predictor: AccuracyPredictor, features: NDArray[Any]
    ) -> dict[str, Floats]:
        """Return absolute errors and family membership, (2, n), of each other data set's sample."""
        if not self.other_datasets:
            return {}
        datasets, truth = self.table.datasets, self.table.accuracy
        answers = {}
        for other in np.unique(datasets[datasets != dataset]):
            rows = self._sample(np.flatnonzero((datasets == other) & np.isfinite(truth)))
            if len(rows):
                errors = np.abs(predictor.predict(features[rows]) - truth[rows])
                answers[str(other)] = np.stack([errors, predictor.in_family(features[rows])])
        return answers


def _over_folds(folds: Sequence[Sequence[tuple[str, int, float]]]) -> tuple[Importance, ...]:
    """Join the folds' names of groups, numbers of features and rises of the error."""
    found = []
    for of_group in zip(*folds, strict=True):
        name, size, _ = of_group[0]
        rises = [rise for *_, rise in of_group]
        found.append(Importance(name, size, float(np.mean(rises)), min(rises), max(rises)))
    return tuple(sorted(found, key=lambda importance: -importance.increase))
