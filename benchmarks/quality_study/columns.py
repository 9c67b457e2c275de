"""What each column of the study says of the scored rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.evaluation.baselines import (
    Inputs,
    boosted_trees,
    hyperparameters_and_epoch,
)
from accuracy_from_weights.zoo.table import ZooTable

from .cache import Cache, Said
from .equivariant import equivariant_estimates
from .ours import MODEL, interval_estimates, point_estimates
from .published import published_regressor
from .raw_columns import Raw
from .splits import Split, final_mask, kinds_of
from .weight_watcher import METRICS

Floats = NDArray[np.float64]

FEATURES = ("weights", "weights+probes", "weights+probes+log")
OURS = {features: f"ours, {features}" for features in FEATURES}
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

_IN_CURVES = (LOGGED, LOGGED_TREES, RECIPE, PUBLISHED, *OURS.values())
FEWEST_ROWS = 20


@dataclass(frozen=True)
class Column:
    """Predictions for the scored rows of a split; NaN where there is none.

    Attributes
    ----------
    name : str
    predicted : ndarray of shape (n,)
    intervals : ndarray of shape (n, 2) or None
    p_values : ndarray of shape (n,) or None
        Of the family check.
    """

    name: str
    predicted: Floats
    intervals: Floats | None = None
    p_values: Floats | None = None


class Columns:
    """Fit what the columns need, or take it from the cache.

    Parameters
    ----------
    table : ZooTable
    cache : Cache
    raw : Raw
        Of the raw weights, where there are any.
    """

    def __init__(self, table: ZooTable, cache: Cache, raw: Raw) -> None:
        self.table, self.cache, self.raw = table, cache, raw
        self.is_paper = kinds_of(table) == "paper"
        self.is_final = final_mask(table)
        self.inputs: dict[str, NDArray[np.float32]] = {}
        self.left_out: dict[str, str] = dict(raw.left_out)
        for features in FEATURES:
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
            if split.part not in ("curve", "mixed") or name in _IN_CURVES:
                yield self._plain(name, split, inputs)
        if split.part == "same" and self.raw.tensors(str(self.table.datasets[split.test][0])):
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
            x, y, asked = inputs.values[train], table.accuracy[train], inputs.values[test]

            def compute() -> Said:
                if name == MEAN:
                    return {"predicted": np.full(len(test), y.mean())}
                model: Any = boosted_trees(inputs, 0)
                if name == PUBLISHED:
                    model = published_regressor(str(table.datasets[test][0]))
                return {"predicted": np.clip(model.fit(x, y).predict(asked), 0, 1)}

            parts = [name, x, y, asked, str(inputs.categorical)]
            said = self.cache.get(_label(split, name), parts, compute)
            predicted[test] = said["predicted"]
        return Column(name, predicted[split.test])

    def _as_logged(self, split: Split) -> Floats:
        """Give the logged accuracy as it is; before the first epoch, that of such networks."""
        logged, truth = self.table.log_accuracy.astype(float), self.table.accuracy
        young = split.train[np.isnan(logged[split.train])]
        start = float(truth[young].mean()) if len(young) else 0.1
        return np.where(np.isnan(logged), start, logged)[split.test]

    def _ours(self, features: str, inputs: NDArray[np.float32], split: Split) -> Column:
        x, y = inputs[split.train], self.table.accuracy[split.train]
        runs, asked = self.table.runs[split.train], inputs[split.test]

        def compute() -> Said:
            predicted, p_values = point_estimates(features, x, y, runs, asked)
            return {"predicted": predicted, "p_values": p_values}

        said = self.cache.get(
            _label(split, features), ["ours", MODEL, features, x, y, runs, asked], compute
        )
        return Column(OURS[features], said["predicted"], None, said["p_values"])

    def with_intervals(self, split: Split, features: str, most_rows: int, n_folds: int) -> Column:
        """Fit the whole predictor, intervals included, to fewer rows.

        Outside of the fitted networks (a data set or kind left out) it also learns how much wider
        intervals have to be. Each run's last checkpoint is asked about.

        Returns
        -------
        Column
            NaN but for last checkpoints.
        """
        table, inputs = self.table, self.inputs[features]
        train = np.random.default_rng(0).permutation(split.train)[:most_rows]
        train = train[np.lexsort((table.steps[train], table.runs[train]))]
        test = np.flatnonzero(self.is_final[split.test])
        domains = None if split.part == "same" else table.domains[train]
        x, y, asked = inputs[train], table.accuracy[train], inputs[split.test[test]]
        runs = table.runs[train]

        def compute() -> Said:
            found = interval_estimates(features, x, y, runs, domains, asked, n_folds)
            return dict(zip(("predicted", "intervals", "p_values"), found, strict=True))

        parts = ["intervals", MODEL, features, str(n_folds), x, y, runs, asked]
        said = self.cache.get(_label(split, f"intervals {features}"), parts, compute)
        n = len(split.test)
        spread = {"predicted": np.full(n, np.nan), "p_values": np.full(n, np.nan)}
        spread["intervals"] = np.full((n, 2), np.nan)
        for key, values in spread.items():
            values[test] = said[key]
        return Column(OURS[features], **spread)

    def _equivariant(self, split: Split) -> Floats:
        table = self.table
        tensors = self.raw.tensors(str(table.datasets[split.test][0]))
        assert tensors is not None
        place = {row: i for i, row in enumerate(tensors.rows.tolist())}
        train = np.array([place[row] for row in split.train.tolist() if row in place])
        test = np.array([row for row in split.test[self.is_final[split.test]] if row in place])
        predicted = np.full(len(table), np.nan)
        if len(train) >= FEWEST_ROWS and len(test):
            asked = np.array([place[row] for row in test.tolist()])
            truth = table.accuracy[tensors.rows]

            def compute() -> Said:
                found = equivariant_estimates(tensors.values, truth, train, asked, self.raw.steps)
                return {"predicted": found}

            rows = tensors.rows
            parts = ["nfn", str(self.raw.steps), truth[train], table.runs[rows[train]]]
            parts += [table.steps[rows[train]], table.runs[test]]
            said = self.cache.get(_label(split, EQUIVARIANT), parts, compute)
            predicted[test] = said["predicted"]
        return predicted[split.test]


def _label(split: Split, name: str) -> str:
    plain = "".join(c if c.isalnum() else "_" for c in name)
    return f"{split.part}-{split.name}-{split.fold}-{plain}"
