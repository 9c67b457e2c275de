"""How far a predictor's estimates can be relied on, data set by data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.evaluation import kendall_tau, score
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
from accuracy_from_weights.predictor.folds import last_rows
from accuracy_from_weights.zoo.table import ZooTable

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

CONFIDENT = 0.95
OVERFITTED = 0.1
"""A network is, whose training accuracy, evaluated, lies by so much above its test accuracy."""
REPORTED, EVALUATED = "as the loop reports it", "evaluated after the epoch"
MEAN = "mean over data sets"
_FEWEST = 3
_LEAST_SPREAD = 0.05
"""Standard deviation of accuracies below which R² says nothing."""


@dataclass(frozen=True)
class Verdict:
    """Scores of a predictor, and of training accuracy as it is, on some networks.

    Attributes
    ----------
    group : str
    networks : int
    r2, error, tau : float
        Coefficient of determination (NaN where the accuracies hardly differ), mean absolute error
        in points, Kendall's tau.
    error_low, error_high : float
        95% bootstrap interval of the error, over networks; of the mean, over data sets.
    holds, width : float
        Share of the truths that the intervals hold, and their mean width in points.
    inside : float
        Share of the networks that the predictor calls inside its family.
    reported_error, reported_tau, evaluated_error, evaluated_tau : float
        Of training accuracy as the loop reports it, and as it is evaluated after the epoch.
    perfect_error, perfect_tau : float
        Of an estimate that knows the accuracy on endless test data, since test sets are finite; NaN
        where their size is not known.
    """

    group: str
    networks: float
    r2: float
    error: float
    error_low: float
    error_high: float
    tau: float
    holds: float
    width: float
    inside: float
    reported_error: float
    reported_tau: float
    evaluated_error: float
    evaluated_tau: float
    perfect_error: float
    perfect_tau: float


def judge(predictor: AccuracyPredictor, table: ZooTable, form: str = REPORTED) -> list[Verdict]:
    """Score a predictor on the last checkpoint of each run of a table.

    Parameters
    ----------
    predictor : AccuracyPredictor
        Fitted to nothing of the table.
    table : ZooTable
    form : {REPORTED, EVALUATED}
        Which training accuracy and loss the predictor is given, where it reads the log.

    Returns
    -------
    list of Verdict
        One for each data set; their mean; and one each for networks that are hard to judge, and for
        each kind of input, whatever their data set.

    Raises
    ------
    ZooError
        When the table lacks what the predictor reads.
    """
    table = table.subset(np.flatnonzero(last_rows(table.runs, table.steps)))
    said = ask(predictor, table, form)
    by_data = [
        _verdict(str(name), table, said, table.datasets == name)
        for name in dict.fromkeys(table.datasets.tolist())
    ]
    others = [
        _verdict(group, table, said, rows)
        for group, rows in _groups(table).items()
        if rows.sum() >= _FEWEST
    ]
    return [*by_data, _mean(MEAN, by_data), *others]


def ask(predictor: AccuracyPredictor, table: ZooTable, form: str) -> Floats:
    """Return estimates, low and high ends, and whether inside the family, of shape (n, 4)."""
    if form == EVALUATED:
        table = dataclasses.replace(
            table, log_accuracy=table.train_accuracy, log_loss=table.train_loss
        )
    estimates = predictor.judge(table.inputs(predictor.features))
    return np.array([(e.accuracy, e.low, e.high, e.in_family) for e in estimates], float)


def _groups(table: ZooTable) -> dict[str, Mask]:
    blank = np.full(len(table), "")
    noise = np.asarray(table.hyperparameters.get("label_noise", np.zeros(len(table))), float)
    reported = np.where(np.isfinite(table.log_accuracy), table.log_accuracy, table.train_accuracy)
    groups = {
        "all networks": np.ones(len(table), bool),
        "training accuracy above .95": reported > CONFIDENT,
        "wrong labels": np.nan_to_num(noise) > 0,
        "overfitted": table.train_accuracy - table.accuracy > OVERFITTED,
    }
    for column in ("input_kind", "family"):
        values = table.hyperparameters.get(column, blank).astype(str)
        groups |= {str(value): values == value for value in np.unique(values) if value}
    return groups


def _verdict(group: str, table: ZooTable, said: Floats, rows: Mask) -> Verdict:
    truth = table.accuracy[rows]
    estimates, low, high, inside = said[rows].T
    scores = score(group, truth, estimates, table.runs[rows], np.stack([low, high], axis=1))
    assert scores.coverage is not None
    assert scores.width is not None
    plain = [_error_and_tau(truth, x[rows]) for x in (table.log_accuracy, table.train_accuracy)]
    return Verdict(
        group,
        len(truth),
        scores.r2.value if truth.std() >= _LEAST_SPREAD else np.nan,
        100 * scores.mean_absolute_error.value,
        100 * scores.mean_absolute_error.low,
        100 * scores.mean_absolute_error.high,
        scores.tau.value,
        scores.coverage.value,
        100 * scores.width.value,
        float(inside.mean()),
        *plain[0],
        *plain[1],
        *_perfect(table, rows),
    )


def _perfect(table: ZooTable, rows: Mask) -> tuple[float, float]:
    """Return error and Kendall's tau between accuracies and those on other test sets as large."""
    sizes = np.asarray(table.hyperparameters.get("n_test", np.full(len(table), np.nan)), float)
    if not np.isfinite(sizes[rows]).all():
        return np.nan, np.nan
    truth, sizes = table.accuracy[rows], sizes[rows]
    measured = (
        np.random.default_rng(0).binomial(sizes.astype(int), truth, (200, len(truth))) / sizes
    )
    taus = [kendall_tau(truth, one) for one in measured]
    return 100 * float(np.abs(measured - truth).mean()), float(np.nanmean(taus))


def _error_and_tau(truth: Floats, training: Floats) -> tuple[float, float]:
    known = np.isfinite(training)
    if known.sum() < _FEWEST:
        return np.nan, np.nan
    error = 100 * float(np.abs(truth - training)[known].mean())
    return error, kendall_tau(truth[known], training[known])


def choices(
    table: ZooTable, asked: Iterable[tuple[str, AccuracyPredictor, str]]
) -> dict[str, dict[str, float]]:
    """Return what it costs to keep the checkpoint of a run that looks best.

    Parameters
    ----------
    table : ZooTable
    asked : iterable of (title, predictor, form)
        As for `judge`.

    Returns
    -------
    dict of str to dict of str to float
        For each way of choosing, how far the chosen checkpoint is below the run's best one, in
        points: the mean over all runs, and over those that `_groups` finds hard.
    """
    last = np.flatnonzero(last_rows(table.runs, table.steps))
    ways = {
        "the last": table.steps,
        f"training accuracy, {REPORTED}": table.log_accuracy,
        f"training accuracy, {EVALUATED}": table.train_accuracy,
    }
    ways |= {title: ask(predictor, table, form)[:, 0] for title, predictor, form in asked}
    groups = [*_groups(table.subset(last)).items()][:4]
    found = {}
    for way, values in ways.items():
        if np.isfinite(values).any():
            lost = np.array([_lost(table, values, table.runs[row]) for row in last])
            found[way] = {name: float(lost[rows].mean()) for name, rows in groups if rows.any()}
    return found


def _lost(table: ZooTable, values: Floats, run: str) -> float:
    """Return the points between a run's best checkpoint and the latest one of highest value."""
    rows = np.flatnonzero(table.runs == run)
    rows = rows[np.lexsort((table.steps[rows], np.nan_to_num(values[rows], nan=-np.inf)))]
    return 100 * float(table.accuracy[rows].max() - table.accuracy[rows[-1]])


def ranks(table: ZooTable, columns: Iterable[str]) -> list[dict[str, Any]]:
    """Return how columns of a table rank the last checkpoints of each data set.

    Parameters
    ----------
    table : ZooTable
    columns : iterable of str
        Hyperparameters of which less is better.

    Returns
    -------
    list of dict
        For each column that the table has: its name, the number of networks of which it is known,
        and the mean of Kendall's tau over data sets.
    """
    table = table.subset(np.flatnonzero(last_rows(table.runs, table.steps)))
    found = []
    for name in columns:
        values = np.asarray(table.hyperparameters.get(name, np.full(len(table), np.nan)), float)
        known = np.isfinite(values)
        taus = []
        for dataset in np.unique(table.datasets[known]):
            rows = known & (table.datasets == dataset)
            if rows.sum() >= _FEWEST:
                taus.append(kendall_tau(table.accuracy[rows], -values[rows]))
        if np.isfinite(taus).any():
            mean = float(np.nanmean(taus))
            found.append({"column": name, "networks": int(known.sum()), "tau": mean})
    return found


def known_to(predictors: Mapping[str, AccuracyPredictor], datasets: NDArray[np.str_]) -> Mask:
    """Return which data sets, or the same data in another form, any predictor was fitted to."""
    cards = (predictor.card_.get("zoo", {}) for predictor in predictors.values())
    fitted = {name for card in cards for name in card.get("datasets", ())}
    return np.array([name in fitted or FORMS.get(name) in fitted for name in datasets.tolist()])


FORMS = {
    "cifar10": "cifar10_grey",
    "digits_table": "digits",
    "tinted_fashion": "fashion_mnist",
}
"""Data sets that are others in another form."""


def _mean(group: str, verdicts: list[Verdict]) -> Verdict:
    numbers = np.array([dataclasses.astuple(verdict)[1:] for verdict in verdicts], float)
    known = np.isfinite(numbers)
    sums = np.where(known, numbers, 0).sum(axis=0)
    means = np.divide(sums, known.sum(axis=0), out=np.full(len(sums), np.nan), where=known.any(0))
    verdict = Verdict(group, float(numbers[:, 0].sum()), *means[1:].tolist())
    errors = np.array([one.error for one in verdicts])
    drawn = np.random.default_rng(0).integers(len(errors), size=(1_000, len(errors)))
    low, high = np.percentile(errors[drawn].mean(axis=1), (2.5, 97.5))
    return dataclasses.replace(verdict, error_low=float(low), error_high=float(high))
