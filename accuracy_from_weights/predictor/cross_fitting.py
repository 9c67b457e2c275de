"""What errors an ensemble makes on training runs that it has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.stats import kendalltau
from sklearn.metrics import mean_absolute_error, r2_score

from accuracy_from_weights.predictor.expected_error import ExpectedError, power_of, raised
from accuracy_from_weights.predictor.folds import run_folds
from accuracy_from_weights.predictor.intervals import conformal_widths
from accuracy_from_weights.predictor.models.ensemble import N_RANDOMISED, Ensemble

Floats = NDArray[np.float64]


def each_domain(domains: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Name and rows of each domain, where a column of domains has several.

    Parameters
    ----------
    domains : ndarray of shape (n_rows,) or (n_rows, k)
    """
    for column in np.atleast_2d(domains.T):
        names = np.unique(column)
        if len(names) > 1:
            yield from ((str(name), column == name) for name in names)


def fold_count(n_runs: int) -> int:
    """Give the number of folds for a number of runs.

    The fewer runs, the more an ensemble gains from each, and the more the errors of one that lacks
    a fold exceed those of the whole: intervals would come out too wide.
    """
    return 12 if n_runs < 400 else 6 if n_runs < 2_000 else 3


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Errors on runs left out, and what follows from them.

    Attributes
    ----------
    predicted : ndarray of shape (n_rows,)
        For each row by an ensemble that has not seen its run; fractions in [0, 1].
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
    folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]]

    @classmethod
    def of(
        cls,
        X: NDArray[np.float32],
        y: Floats,
        runs: NDArray[Any],
        guess: Floats,
        n_folds: int,
        random_state: int,
        n_jobs: int | None,
        coverage: float,
        n_randomised: int = N_RANDOMISED,
    ) -> CrossFit:
        """Fit an ensemble for each fold.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
        y : ndarray of shape (n_rows,)
            Accuracies, fractions.
        runs : ndarray of shape (n_rows,)
        guess : ndarray of shape (n_rows,)
            Accuracies that the ensembles are to correct; zeros where there is no first guess.
        n_folds, random_state, n_jobs, coverage
            As in `AccuracyPredictor`.
        n_randomised : int
            As in `Ensemble.fit`.
        """
        folds = run_folds(runs, n_folds, random_state)
        ensembles = Parallel(n_jobs=n_jobs)(
            delayed(Ensemble.fit)(X[train], y[train], guess[train], random_state, n_randomised)
            for train, _ in folds
        )
        predicted = np.empty(len(y))
        for ensemble, (_, test) in zip(ensembles, folds, strict=True):
            predicted[test] = ensemble.predict(X[test], guess[test])
        return cls.of_predictions(X, y, predicted, folds, coverage)

    @classmethod
    def of_predictions(
        cls,
        X: NDArray[np.float32],
        y: Floats,
        predicted: Floats,
        folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]],
        coverage: float,
    ) -> CrossFit:
        """Learn the errors of predictions that were made for runs left out.

        Parameters
        ----------
        X, y
            As in `of`.
        predicted : ndarray of shape (n_rows,)
            Fractions in [0, 1].
        folds : list of (train, test)
            Row numbers.
        coverage : float
            What intervals are to hold, a fraction.
        """
        errors, expected = np.abs(predicted - y), np.empty(len(y))
        for train, test in folds:
            # Also crosswise: an expected error that had seen the error would promise too much.
            expected[test] = ExpectedError.fit(X[train], errors[train]).predict(X[test])
        power = power_of(errors, expected, coverage)
        scores = errors / raised(expected, power)
        return cls(predicted, ExpectedError.fit(X, errors, power), scores, folds)

    def quality(
        self,
        y: Floats,
        runs: NDArray[Any],
        last: NDArray[np.bool_],
        coverage: float,
        domains: NDArray[Any] | None = None,
    ) -> dict[str, Any]:
        """Score the predictions; JSON can hold what this gives.

        Parameters
        ----------
        y : ndarray of shape (n_rows,)
        runs : ndarray of shape (n_rows,)
        last : ndarray of shape (n_rows,)
            Which rows are a run's last ones.
        coverage : float
            What the intervals promise, a fraction.
        domains : ndarray of shape (n_rows,) or (n_rows, k), optional
            Each value of each column is scored by itself as well.
        """
        covered = np.empty(len(y), bool)
        for train, test in self.folds:
            width = conformal_widths(self.scores[train], runs[train], [coverage])[0]
            covered[test] = self.scores[test] <= width

        def scores(part: NDArray[np.bool_]) -> dict[str, Any]:
            return {
                "n_networks": int(part.sum()),
                **_scores(y[part], self.predicted[part]),
                "coverage": float(covered[part].mean()),
                "last_checkpoints": _scores(y[part & last], self.predicted[part & last]),
            }

        quality = {
            "protocol": f"{len(self.folds)}-fold by run, all checkpoints",
            "stated_coverage": float(coverage),
            **scores(np.ones(len(y), bool)),
        }
        if domains is not None:
            quality["by_domain"] = {
                name.strip(): scores(part)
                for name, part in each_domain(domains)
                if (part & last).sum() > 9
            }
        return quality


def _scores(truth: Floats, predicted: Floats) -> dict[str, float]:
    return {
        "r2": float(r2_score(truth, predicted)),
        "kendall_tau": float(np.nan_to_num(kendalltau(truth, predicted).statistic)),
        "mean_absolute_error": float(mean_absolute_error(truth, predicted)),
    }
