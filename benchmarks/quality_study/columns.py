"""What each column of the study says of the scored rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Memory
from numpy.typing import NDArray

import accuracy_from_weights.predictor
from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.evaluation.baselines import (
    Inputs,
    boosted_trees,
    hyperparameters_and_epoch,
)
from accuracy_from_weights.features.feature_sets import FEATURE_SETS
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
from accuracy_from_weights.zoo.table import ZooTable

from .equivariant import equivariant_estimates
from .published import published_regressor
from .raw_columns import Raw
from .splits import Split, final_mask
from .weight_watcher import METRICS

Floats = NDArray[np.float64]

OURS = {features: f"ours, {features}" for features in FEATURE_SETS}
MEAN, EPOCH, RECIPE = "mean", "epoch", "hyperparameters and epoch"
LOGGED, LOGGED_TREES = "training accuracy", "training accuracy, trees"
PUBLISHED = "paper's 56 statistics, LightGBM"
WATCHED = tuple(f"WeightWatcher, {name}" for name in METRICS)
EQUIVARIANT = "nfn"
NAMES = (
    *(MEAN, EPOCH, RECIPE, LOGGED, LOGGED_TREES, *WATCHED, PUBLISHED, EQUIVARIANT),
    *OURS.values(),
)
"""All columns, in the order of the tables."""

FEWEST_ROWS = 20

_SOURCES = sorted(Path(accuracy_from_weights.predictor.__file__).parent.rglob("*.py"))
_FITTED_CODE = hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()
"""Fits of other code say nothing."""


@dataclass(frozen=True)
class Column:
    """Predictions for the scored rows of a split; NaN where there is none.

    Attributes
    ----------
    name : str
    predicted : ndarray of shape (n,)
    intervals : ndarray of shape (n, 2) or None
    """

    name: str
    predicted: Floats
    intervals: Floats | None = None


class Columns:
    """Fit what the columns need, or take it from the memory.

    Parameters
    ----------
    table : ZooTable
    memory : Memory
        Of finished fits.
    raw : Raw
        Of the raw weights, where there are any.
    n_folds : int
        In which a predictor calibrates its intervals.
    """

    def __init__(self, table: ZooTable, memory: Memory, raw: Raw, n_folds: int) -> None:
        self.table, self.memory, self.raw, self.n_folds = table, memory, raw, n_folds
        self.is_final = final_mask(table)
        self.inputs: dict[str, NDArray[np.float32]] = {}
        self.left_out: dict[str, str] = dict(raw.left_out)
        for features in FEATURE_SETS:
            inputs = self._inputs(features)
            if inputs is not None:
                self.inputs[features] = inputs
        if find_spec("lightgbm") is None:
            self.left_out[PUBLISHED] = "LightGBM is not installed."

    def _inputs(self, features: str) -> NDArray[np.float32] | None:
        try:
            return self.table.inputs(features)
        except ZooError as error:
            self.left_out[OURS[features]] = str(error)
            return None

    def of(self, split: Split) -> Iterator[Column]:
        """Yield the columns of a split, our own ones last."""
        for name, inputs in self._plain_inputs(split).items():
            yield self._plain(name, split, inputs)
        if self.raw.tensors(split.dataset):
            yield Column(EQUIVARIANT, self._equivariant(split))
        for features, inputs in self.inputs.items():
            yield self._ours(features, inputs, split)

    def _plain_inputs(self, split: Split) -> dict[str, Inputs]:
        table, n = self.table, len(self.table)
        found = {MEAN: Inputs(np.zeros((n, 1))), EPOCH: Inputs(table.steps[:, None].astype(float))}
        recipe = hyperparameters_and_epoch(table)
        if recipe is not None:
            found[RECIPE] = recipe
        if np.isfinite(table.log_accuracy).any():
            logged = Inputs(table.log_accuracy[:, None].astype(float))
            found |= {LOGGED: logged, LOGGED_TREES: logged}
        for name, values in zip(WATCHED, self.raw.watched.T, strict=True):
            if np.isfinite(values[split.test]).any():
                found[name] = Inputs(values[:, None])
        if PUBLISHED not in self.left_out and table.paper_statistics is not None:
            found[PUBLISHED] = Inputs(table.paper_statistics.astype(float))
        return found

    def _plain(self, name: str, split: Split, inputs: Inputs) -> Column:
        table, train, test = self.table, split.train, split.test
        if name == LOGGED:
            return Column(name, self._as_logged(split))
        if name in (PUBLISHED, *WATCHED):  # of some networks only
            known = np.isfinite(inputs.values).all(axis=1)
            train, test = train[known[train]], test[known[test]]
        predicted = np.full(len(table), np.nan)
        if len(train) >= FEWEST_ROWS and len(test):
            known_rows = Inputs(inputs.values[train], inputs.categorical)
            fit_and_ask = self.memory.cache(_plain_estimates)
            predicted[test] = fit_and_ask(
                name, split.dataset, known_rows, table.accuracy[train], inputs.values[test]
            )
        return Column(name, predicted[split.test])

    def _as_logged(self, split: Split) -> Floats:
        """Give the logged accuracy as it is; before the first epoch, that of such networks."""
        logged, truth = self.table.log_accuracy.astype(float), self.table.accuracy
        young = split.train[np.isnan(logged[split.train])]
        start = float(truth[young].mean()) if len(young) else 0.1
        return np.where(np.isnan(logged), start, logged)[split.test]

    def _ours(self, features: str, inputs: NDArray[np.float32], split: Split) -> Column:
        known = (array[split.train] for array in (inputs, self.table.accuracy, self.table.runs))
        predictor = AccuracyPredictor(features, n_folds=self.n_folds)
        fit_and_ask = self.memory.cache(_our_estimates)
        found = fit_and_ask(predictor, *known, inputs[split.test], _FITTED_CODE)
        return Column(OURS[features], *found)

    def _equivariant(self, split: Split) -> Floats:
        table = self.table
        tensors = self.raw.tensors(split.dataset)
        assert tensors is not None
        place = {row: i for i, row in enumerate(tensors.rows.tolist())}
        train = np.array([place[row] for row in split.train.tolist() if row in place])
        test = np.array([row for row in split.test[self.is_final[split.test]] if row in place])
        predicted = np.full(len(table), np.nan)
        if len(train) >= FEWEST_ROWS and len(test):
            asked = np.array([place[row] for row in test.tolist()])
            fit_and_ask = self.memory.cache(equivariant_estimates)
            truth = table.accuracy[tensors.rows]
            predicted[test] = fit_and_ask(tensors.values, truth, train, asked, self.raw.steps)
        return predicted[split.test]


def _plain_estimates(
    name: str, dataset: str, known: Inputs, accuracies: Floats, asked: Floats
) -> Floats:
    if name == MEAN:
        return np.full(len(asked), accuracies.mean())
    model: Any = published_regressor(dataset) if name == PUBLISHED else boosted_trees(known, 0)
    return np.clip(model.fit(known.values, accuracies).predict(asked), 0, 1)


def _our_estimates(
    predictor: Any,
    known: NDArray[np.float32],
    accuracies: Floats,
    runs: NDArray[np.str_],
    asked: NDArray[np.float32],
    code: str,
) -> tuple[Floats, Floats]:
    """Return estimates and their intervals; `code` tells kept fits of other code apart."""
    said = predictor.fit(known, accuracies, groups=runs).judge(asked)
    return np.array([e.accuracy for e in said]), np.array([(e.low, e.high) for e in said])
