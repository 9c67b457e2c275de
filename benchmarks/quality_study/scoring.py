"""Scores of the columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.evaluation.scores import kendall_tau, score, tie_ceiling
from accuracy_from_weights.zoo.table import ZooTable

from .columns import EPOCH, MEAN, Column
from .splits import Split

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

N_RESAMPLES = 100
FEWEST_SCORED = 10
_MEASURES = ("r2", "tau", "tau_over_ceiling", "mean_absolute_error", "coverage", "width")


@dataclass(frozen=True, eq=False)
class Said:
    """What the columns say, spread over the table; NaN for rows not scored.

    Attributes
    ----------
    predicted : dict of str to ndarray of shape (n_rows,)
    intervals : dict of str to ndarray of shape (n_rows, 2)
    """

    predicted: dict[str, Floats]
    intervals: dict[str, Floats]

    @classmethod
    def gather(cls, table: ZooTable, found: list[tuple[Split, Column]]) -> Said:
        """Put the folds together."""
        said = cls({}, {})
        for split, column in found:
            parts: tuple[tuple[dict[str, Floats], Floats | None], ...] = (
                (said.predicted, column.predicted),
                (said.intervals, column.intervals),
            )
            for where, values in parts:
                if values is not None:
                    shape = (len(table), *values.shape[1:])
                    where.setdefault(column.name, np.full(shape, np.nan))[split.test] = values
        return said


def scores_of(table: ZooTable, said: Said, rows: Mask, **labels: Any) -> list[dict[str, Any]]:
    """Score every column on some rows, with bootstrap intervals over runs.

    Parameters
    ----------
    labels
        Put into each entry.
    """
    found = []
    for name, predicted in said.predicted.items():
        chosen = rows & np.isfinite(predicted)
        if len(np.unique(table.runs[chosen])) < FEWEST_SCORED:
            continue
        bounds = said.intervals.get(name)
        scores = score(
            name,
            table.accuracy[chosen],
            predicted[chosen],
            table.runs[chosen],
            None if bounds is None else bounds[chosen],
            n_resamples=N_RESAMPLES,
        )
        entry: dict[str, Any] = {**labels, "column": name, "runs": scores.n_runs}
        entry["ceiling"] = _short(tie_ceiling(table.accuracy[chosen]))
        for measure in _MEASURES:
            value = getattr(scores, measure)
            ranks_nothing = name in (MEAN, EPOCH) and "tau" in measure and _few(predicted[chosen])
            if value is not None and not ranks_nothing:
                entry[measure] = [_short(v) for v in (value.value, value.low, value.high)]
        found.append(entry)
    return found


def _few(predicted: Floats) -> bool:
    """Whether there is one value a fold: that ranks nothing, only the folds' means differ."""
    return len(np.unique(predicted)) <= 5


def by_epoch(table: ZooTable, said: Said, rows: Mask) -> list[dict[str, Any]]:
    """Error and rank correlation at each epoch: means over data sets, and their spread there."""
    found = []
    for step in np.unique(table.steps[rows]):
        for name, predicted in said.predicted.items():
            values = []
            for dataset in np.unique(table.datasets[rows]):
                chosen = rows & (table.steps == step) & (table.datasets == dataset)
                chosen &= np.isfinite(predicted)
                if chosen.sum() >= FEWEST_SCORED:
                    t, p = table.accuracy[chosen], predicted[chosen]
                    values.append((float(np.mean(np.abs(t - p))), kendall_tau(t, p)))
            if values:
                entry: dict[str, Any] = {"epoch": float(step), "column": name}
                entry["mean_absolute_error"] = _over(np.array(values)[:, 0])
                if name not in (MEAN, EPOCH):
                    entry["tau"] = _over(np.array(values)[:, 1])
                found.append(entry)
    return found


def _over(values: Floats) -> list[float | None]:
    """Mean, smallest and largest."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return [None, None, None]
    return [_short(float(v)) for v in (finite.mean(), finite.min(), finite.max())]


def _short(value: Any) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
