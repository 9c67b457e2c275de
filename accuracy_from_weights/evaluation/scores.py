"""Scores of estimates against true accuracies, with bootstrap intervals over training runs.

Checkpoints of one run resemble each other, so rows are no independent draws: an interval that
resampled rows would be too narrow. Whole runs are drawn instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]


def kendall_tau(truth: ArrayLike, predicted: ArrayLike) -> float:
    r"""Return Kendall's :math:`\tau_b` between truth and prediction, arrays of shape (n,).

    It is in [-1, 1]; NaN for fewer than two values, and when either side is constant, since it then
    ranks nothing.
    """
    if np.size(truth) < 2:
        return float("nan")
    return float(stats.kendalltau(truth, predicted).statistic)


def tie_ceiling(truth: ArrayLike, weights: ArrayLike | None = None) -> float:
    r"""Kendall's :math:`\tau_b` of a perfect ranking that cannot know which networks tie.

    Measured accuracies tie: many networks never learn and sit at chance together. A predictor
    gives every network a number of its own, so even one that orders each untied pair rightly
    has no discordant pair, :math:`n_0 - n_2` concordant ones and no ties of its own, hence

    .. math:: \tau_b = \frac{n_0 - n_2}{\sqrt{n_0 (n_0 - n_2)}} = \sqrt{1 - n_2 / n_0}

    with :math:`n_0` pairs in all and :math:`n_2` pairs of equal truth (Kendall, 1945, The
    treatment of ties in ranking problems, Biometrika 33).

    Parameters
    ----------
    truth : array_like of shape (n,)
        Measured accuracies.
    weights : array_like of shape (n,), optional
        How often each row was drawn, in a bootstrap. Copies of a row are no pair. Defaults to
        one each.

    Returns
    -------
    float
        In [0, 1]; NaN for fewer than two rows.
    """
    t = np.asarray(truth)
    w = np.ones(t.size) if weights is None else np.asarray(weights, dtype=np.float64)
    values, group = np.unique(t, return_inverse=True)
    of_value = np.bincount(group, weights=w, minlength=values.size)
    copies = float(np.sum(w**2))
    pairs = (w.sum() ** 2 - copies) / 2
    tied = (float(np.sum(of_value**2)) - copies) / 2
    return float(np.sqrt(max(0.0, 1.0 - tied / pairs))) if pairs > 0 else float("nan")


@dataclass(frozen=True)
class Score:
    """A score and its bootstrap interval over runs (NaN where it is not defined)."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Scores:
    """Scores of one predictor on one set of unseen rows.

    Attributes
    ----------
    name : str
        The predictor's.
    n_rows, n_runs : int
        Checkpoints and training runs behind the scores.
    r2, tau, tau_over_ceiling : Score
        Coefficient of determination; Kendall's tau_b; the same divided by `tie_ceiling`.
    mean_absolute_error : Score
        In units of accuracy: a fraction.
    coverage : Score or None
        Share of the truths inside their interval; None where there are no intervals.
    width : Score or None
        Mean width of the intervals, in units of accuracy.
    """

    name: str
    n_rows: int
    n_runs: int
    r2: Score
    tau: Score
    tau_over_ceiling: Score
    mean_absolute_error: Score
    coverage: Score | None = None
    width: Score | None = None


def score(
    name: str,
    truth: ArrayLike,
    predicted: ArrayLike,
    runs: ArrayLike,
    intervals: ArrayLike | None = None,
    *,
    n_resamples: int = 200,
    random_state: int = 0,
) -> Scores:
    """Score predictions, with percentile bootstrap intervals of 95 % over runs.

    Parameters
    ----------
    name : str
        The predictor's, for the table.
    truth, predicted : array_like of shape (n,)
        Accuracies, fractions in [0, 1].
    runs : array_like of shape (n,)
        The training run of each row.
    intervals : array_like of shape (n, 2), optional
        Low and high ends of each prediction's interval.
    n_resamples : int
        Bootstrap draws of as many runs as there are. Defaults to 200; 0 leaves the intervals NaN.
    random_state : int
        Seed of the draws: equal seeds and runs give equal draws, so that scores of different
        predictors are comparable. Defaults to 0.

    Returns
    -------
    Scores
    """
    t, p = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    bounds = None if intervals is None else np.asarray(intervals, dtype=np.float64)
    run_names, run_of_row = np.unique(np.asarray(runs), return_inverse=True)

    def measure(rows: NDArray[np.intp]) -> dict[str, float]:
        drawn_truth, drawn = t[rows], p[rows]
        total = float(np.sum((drawn_truth - drawn_truth.mean()) ** 2))
        tau = kendall_tau(drawn_truth, drawn)
        ceiling = tie_ceiling(t, np.bincount(rows, minlength=t.size))
        found = {
            "r2": 1.0 - float(np.sum((drawn_truth - drawn) ** 2)) / total if total > 0 else np.nan,
            "tau": tau,
            "tau_over_ceiling": tau / ceiling if ceiling > 0 else np.nan,
            "mean_absolute_error": float(np.mean(np.abs(drawn_truth - drawn))),
        }
        if bounds is not None:
            low, high = bounds[rows, 0], bounds[rows, 1]
            found["coverage"] = float(np.mean((low <= drawn_truth) & (drawn_truth <= high)))
            found["width"] = float(np.mean(high - low))
        return found

    values = measure(np.arange(t.size))
    ends = _bootstrap(measure, run_of_row, n_resamples, random_state)
    return Scores(
        name,
        t.size,
        run_names.size,
        **{key: Score(value, *ends.get(key, ())) for key, value in values.items()},
    )


def _bootstrap(
    measure: Callable[[NDArray[np.intp]], dict[str, float]],
    run_of_row: NDArray[np.intp],
    n_resamples: int,
    random_state: int,
) -> dict[str, tuple[float, float]]:
    """Return percentile intervals of every score when whole runs are drawn with replacement."""
    n_rows = np.bincount(run_of_row)
    n_runs = n_rows.size
    if n_resamples == 0 or n_runs < 2:
        return {}
    rows_of_run = np.split(np.argsort(run_of_row, kind="stable"), np.cumsum(n_rows)[:-1])
    generator = np.random.default_rng(random_state)
    draws = [
        measure(np.concatenate([rows_of_run[run] for run in drawn]))
        for drawn in generator.integers(n_runs, size=(n_resamples, n_runs))
    ]
    intervals = {}
    for key in draws[0]:
        drawn_scores = np.array([draw[key] for draw in draws])
        finite = drawn_scores[np.isfinite(drawn_scores)]
        if finite.size:
            low, high = np.percentile(finite, (2.5, 97.5))
            intervals[key] = (float(low), float(high))
    return intervals
