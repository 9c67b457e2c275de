"""Errors that an ensemble makes on training runs, or tasks, that it has not seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.stats import kendalltau
from sklearn.metrics import mean_absolute_error, r2_score

from accuracy_from_weights.predictor.expected_error import ExpectedError, power_of, raised
from accuracy_from_weights.predictor.fit_rows import FitRows, FitSettings, RowNumbers
from accuracy_from_weights.predictor.folds import Counter, group_folds, last_rows
from accuracy_from_weights.predictor.intervals import conformal_widths, unit_weights
from accuracy_from_weights.predictor.models.ensemble import Ensemble

Floats = NDArray[np.float64]
Folds = list[tuple[RowNumbers, RowNumbers]]


def each_domain(domains: NDArray[Any] | None) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield name and rows of each domain, of each column that has from 2 to 20 of them."""
    for column in () if domains is None else np.atleast_2d(domains.T):
        names = np.unique(column)
        if 1 < len(names) <= _MOST_DOMAINS:
            yield from ((str(name), column == name) for name in names)


_MOST_DOMAINS = 20
_PRIOR_UNITS = 5.0
"""The guesses count as much as so many runs, or tasks, that found the answers useless."""


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Predictions for rows left out of the fit, and the errors that follow from them.

    Attributes
    ----------
    predicted : ndarray of shape (n_rows,)
        Estimates for each row that do without its run or task; fractions in [0, 1].
    error : ExpectedError
        Fitted to the errors of all rows.
    scores : ndarray of shape (n_rows,)
        Absolute error over the error that was to be expected.
    folds : list of (train, test)
        Row numbers.
    """

    predicted: Floats
    error: ExpectedError
    scores: Floats
    folds: Folds

    @classmethod
    def of(cls, rows: FitRows, predicted: Floats, folds: Folds, coverage: float) -> CrossFit:
        """Learn the errors of predictions that were made for rows left out.

        Parameters
        ----------
        rows : FitRows
        predicted : ndarray of shape (n_rows,)
            Fractions in [0, 1].
        folds : list of (train, test)
        coverage : float
            What intervals are to hold, a fraction.
        """
        errors, expected = np.abs(predicted - rows.y), np.empty(len(rows))
        for train, test in folds:
            # Also crosswise: an expected error that had seen the error would promise too much.
            fitted = ExpectedError.fit(rows.take(train), errors[train])
            expected[test] = fitted.predict(rows.X[test])
        power = power_of(errors, expected, coverage)
        scores = errors / raised(expected, power)
        return cls(predicted, ExpectedError.fit(rows, errors, power), scores, folds)

    def quality(self, rows: FitRows, coverage: float) -> dict[str, Any]:
        """Return the predictions' scores, of each domain too, as JSON can hold them."""
        y, last, units = rows.y, last_rows(rows.runs), rows.units
        covered = np.empty(len(y), bool)
        for train, test in self.folds:
            width = conformal_widths(self.scores[train], units[train], [coverage])[0]
            covered[test] = self.scores[test] <= width

        def scores(part: NDArray[np.bool_]) -> dict[str, Any]:
            return {
                "n_networks": int(part.sum()),
                **_scores(y[part], self.predicted[part]),
                "coverage": float(covered[part].mean()),
                "last_checkpoints": _scores(y[part & last], self.predicted[part & last]),
            }

        quality = {
            "protocol": f"{len(self.folds)}-fold by {rows.unit}, all checkpoints",
            "stated_coverage": float(coverage),
            **scores(np.ones(len(y), bool)),
        }
        if rows.domains is not None:
            quality["by_domain"] = {
                name.strip(): scores(part)
                for name, part in each_domain(rows.domains)
                if (part & last).sum() > 9
            }
        return quality


def answers_left_out(rows: FitRows, settings: FitSettings, count: Counter) -> tuple[Floats, Folds]:
    """Fit an ensemble for each fold, and return its answers for the rows left out, and the folds.

    The counter is told of each fold.
    """
    folds = group_folds(rows.units, settings.folds_for(rows), settings.random_state)
    fits = (delayed(Ensemble.fit)(rows.take(train), settings) for train, _ in folds)
    answers = np.empty(len(rows))
    for ensemble, (_, test) in zip(counted(fits, settings.n_jobs, count), folds, strict=True):
        answers[test] = ensemble.predict(rows.X[test], rows.guess[test])
    return answers, folds


def counted(calls: Iterable[Any], n_jobs: int | None, count: Counter) -> list[Any]:
    """Return the results of calls that `joblib.delayed` made, and count each as it comes."""
    if count.progress is None:  # Not every backend of joblib hands out results one by one.
        return list(Parallel(n_jobs=n_jobs)(calls))
    results = []
    for result in Parallel(n_jobs=n_jobs, return_as="generator")(calls):
        results.append(result)
        count.one_more()
    return results


def trust_in(answers: Floats, guesses: Floats, rows: FitRows) -> float:
    """Return how much of the way from guesses to answers for rows left out to go, in [0, 1].

    It is the weight of an average of both that is best for rows left out (stacked regression;
    Breiman 1996), shrunk to the guesses where there are few runs or tasks.
    """
    weights, n_units = unit_weights(rows.units), len(np.unique(rows.units))
    step = answers - guesses
    power = float((weights * step**2).sum())
    if power == 0:
        return 0.0
    best = float((weights * step * (rows.y - guesses)).sum()) / power
    return float(np.clip(best * n_units / (n_units + _PRIOR_UNITS), 0, 1))


def _scores(truth: Floats, predicted: Floats) -> dict[str, float]:
    return {
        "r2": float(r2_score(truth, predicted)),
        "kendall_tau": float(np.nan_to_num(kendalltau(truth, predicted).statistic)),
        "mean_absolute_error": float(mean_absolute_error(truth, predicted)),
    }
