"""Scores of the columns, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from accuracy_from_weights.evaluation.scores import kendall_tau, r2, score, tie_ceiling
from accuracy_from_weights.predictor.anchoring import Anchor
from accuracy_from_weights.zoo.table import ZooTable

from .columns import EPOCH, LOGGED, MEAN, OURS, PUBLISHED, Column
from .splits import Split, final_mask

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

N_RESAMPLES = 100
N_DRAWS = 20
ANCHORS = (3, 10)
ANCHORED = (LOGGED, PUBLISHED, *OURS.values())
LARGE_ERROR = 0.1
FEWEST_SCORED = 10
_ANCHORED_MEASURES = ("r2", "tau", "mean_absolute_error")
_MEASURES = ("r2", "tau", "tau_over_ceiling", "mean_absolute_error", "coverage", "width")


@dataclass(frozen=True, eq=False)
class Said:
    """What the columns of one part say, spread over the table; NaN for rows not scored.

    Attributes
    ----------
    predicted : dict of str to ndarray of shape (n_rows,)
    intervals : dict of str to ndarray of shape (n_rows, 2)
    p_values : dict of str to ndarray of shape (n_rows,)
    """

    predicted: dict[str, Floats]
    intervals: dict[str, Floats]
    p_values: dict[str, Floats]

    @classmethod
    def gather(cls, table: ZooTable, found: list[tuple[Split, Column]]) -> Said:
        """Put the folds of a part together."""
        said = cls({}, {}, {})
        for split, column in found:
            parts: tuple[tuple[dict[str, Floats], Floats | None], ...] = (
                (said.predicted, column.predicted),
                (said.intervals, column.intervals),
                (said.p_values, column.p_values),
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


def anchored_scores(
    table: ZooTable, said: Said, rows: Mask, tasks: NDArray[np.str_], **labels: Any
) -> list[dict[str, Any]]:
    """Score estimates that a few truths corrected, each user's task by itself.

    The truths are last checkpoints of runs drawn at random within a task; these runs are not
    scored. Means over draws, with the 5th and 95th percentile.

    Parameters
    ----------
    tasks : ndarray of shape (n_rows,)
        What one user is at: a data set and a kind of network.
    """
    found = []
    for name in ANCHORED:
        if name not in said.predicted:
            continue
        predicted = said.predicted[name]
        usable = rows & np.isfinite(predicted)
        for k in ANCHORS:
            draws = [_anchored(table, predicted, usable, tasks, k, seed) for seed in range(N_DRAWS)]
            if not np.isfinite(draws).all():
                continue
            entry: dict[str, Any] = {**labels, "column": f"{name} + {k} truths"}
            for measure, values in zip(_ANCHORED_MEASURES, np.transpose(draws), strict=True):
                ends = (np.mean(values), *np.percentile(values, (5, 95)))
                entry[measure] = [_short(v) for v in ends]
            found.append(entry)
    return found


def _anchored(
    table: ZooTable, predicted: Floats, usable: Mask, tasks: NDArray[np.str_], k: int, seed: int
) -> tuple[float, float, float]:
    generator = np.random.default_rng(seed)
    estimates, truths = [], []
    for task in np.unique(tasks[usable]):
        inside = generator.permutation(np.flatnonzero(usable & (tasks == task)))
        anchors, others = inside[:k], inside[k:]
        if not len(others):
            continue
        # Widths decide on the width of the corrected interval alone, not on its centre.
        anchor = Anchor.fit(predicted[anchors], np.full(len(anchors), 0.1), table.accuracy[anchors])
        estimates.append(anchor.centre(predicted[others]))
        truths.append(table.accuracy[others])
    if sum(map(len, truths)) < FEWEST_SCORED:
        return (np.nan,) * 3
    t, p = np.concatenate(truths), np.concatenate(estimates)
    return r2(t, p), kendall_tau(t, p), float(np.mean(np.abs(t - p)))


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


def within_recipe(table: ZooTable, said: Said, rows: Mask) -> list[dict[str, Any]]:
    """Rank correlation where the recipe is the same, or alike.

    ``checkpoints``: Kendall's tau among the checkpoints of one run, a mean over runs whose accuracy
    changes by .02 or more. ``runs``: tau among last checkpoints of runs of one data set that agree
    in optimiser, activation and share of the training images, a mean over such groups, each
    weighing as its runs.
    """
    found = []
    groups = {"checkpoints": _by_run(table, rows), "runs": _by_recipe(table, rows)}
    for name, predicted in said.predicted.items():
        entry: dict[str, Any] = {"column": name}
        for what, members in groups.items():
            values = [
                (kendall_tau(table.accuracy[m], predicted[m]), len(m) if what == "runs" else 1)
                for m in members
                if np.isfinite(predicted[m]).all()
            ]
            # A constant ranks nothing: as good as chance.
            taus = np.nan_to_num([value for value, _ in values])
            if len(taus) >= 3 and name != MEAN and (name != EPOCH or what == "checkpoints"):
                weights = np.array([weight for _, weight in values], float)
                entry[what] = [_short(v) for v in _weighted(taus, weights)]
                entry[f"{what}_groups"] = len(taus)
        if len(entry) > 1:
            found.append(entry)
    return found


def _by_run(table: ZooTable, rows: Mask) -> list[NDArray[np.intp]]:
    chosen = np.flatnonzero(rows)
    _, run_of_row = np.unique(table.runs[chosen], return_inverse=True)
    members = [chosen[run_of_row == k] for k in range(run_of_row.max(initial=-1) + 1)]
    return [m for m in members if len(m) >= 4 and np.ptp(table.accuracy[m]) >= 0.02]


def _by_recipe(table: ZooTable, rows: Mask) -> list[NDArray[np.intp]]:
    names = ("optimizer", "activation", "train_fraction")
    if not set(names) <= table.hyperparameters.keys():
        return []
    columns = [table.datasets, *(table.hyperparameters[name].astype(str) for name in names)]
    labels = columns[0]
    for column in columns[1:]:
        labels = np.char.add(np.char.add(labels, " "), column)
    chosen = rows & final_mask(table)
    members = [np.flatnonzero(chosen & (labels == label)) for label in np.unique(labels[chosen])]
    return [m for m in members if len(m) >= 6]


def _weighted(values: Floats, weights: Floats) -> tuple[float, float, float]:
    """Weighted mean and its bootstrap interval."""
    generator = np.random.default_rng(0)
    draws = generator.integers(len(values), size=(200, len(values)))
    means = (values[draws] * weights[draws]).sum(1) / weights[draws].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(np.average(values, weights=weights)), float(low), float(high)


def width_auroc(table: ZooTable, said: Said, rows: Mask, name: str) -> list[float | None]:
    """AUROC of a wide interval as a sign of a large error: value, low and high end.

    Of last checkpoints, so that a bootstrap over rows is one over runs.
    """
    predicted, ends = said.predicted[name], said.intervals[name]
    chosen = np.flatnonzero(rows & np.isfinite(predicted))
    return _auroc_with_ends(np.diff(ends[chosen])[:, 0], _is_large(table, predicted, chosen))


def _is_large(table: ZooTable, predicted: Floats, chosen: NDArray[np.intp]) -> Mask:
    return np.abs(predicted - table.accuracy)[chosen] > LARGE_ERROR


def _auroc_with_ends(signs: Floats, is_large: Mask) -> list[float | None]:
    """AUROC and its bootstrap interval."""
    generator = np.random.default_rng(0)
    draws = [generator.integers(len(signs), size=len(signs)) for _ in range(N_RESAMPLES)]
    values = np.array([auroc(signs[d], is_large[d]) for d in draws])
    ends = np.nanpercentile(values, (2.5, 97.5)) if np.isfinite(values).any() else (np.nan,) * 2
    return [_short(v) for v in (auroc(signs, is_large), *ends)]


def family_check(table: ZooTable, said: Said, rows: Mask, **labels: Any) -> list[dict[str, Any]]:
    """AUROC of a small p-value as a sign of a large error.

    Of last checkpoints, so that a bootstrap over rows is one over runs.
    """
    found = []
    for name, p_values in said.p_values.items():
        chosen = np.flatnonzero(rows & np.isfinite(p_values) & np.isfinite(said.predicted[name]))
        is_large = _is_large(table, said.predicted[name], chosen)
        p = p_values[chosen]
        entry: dict[str, Any] = {**labels, "column": name, "rows": len(p)}
        entry["large_errors"] = _short(float(is_large.mean()))
        entry["outside"] = _short(float((p < 0.01).mean()))
        entry["auroc"] = _auroc_with_ends(-p, is_large)
        found.append(entry)
    return found


def auroc(scores: Floats, positive: Mask) -> float:
    """Area under the ROC curve (the Mann-Whitney statistic); NaN where one class is missing."""
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - n * (n + 1) / 2) / (n * m))


def _over(values: Floats) -> list[float | None]:
    """Mean, smallest and largest."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return [None, None, None]
    return [_short(float(v)) for v in (finite.mean(), finite.min(), finite.max())]


def _short(value: Any) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
