"""What accuracy a run will end with, told from its weights while it is still young.

The models behind the estimate once more, fitted to another target: by how much the accuracy at the
end of the run exceeds the present estimate. They see that estimate and how far the run has come
besides, because the same weights promise more at the beginning of a long run than at the end of a
short one. What they say counts as much as of the training is left: late in a run it would be more
about the estimate's errors, of which they know no more than the estimate does. At the end nothing
is left to forecast: there the forecast is the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accuracy_from_weights.errors import InvalidArgumentError, ZooError
from accuracy_from_weights.predictor.cross_fitting import CrossFit
from accuracy_from_weights.predictor.expected_error import ExpectedError
from accuracy_from_weights.predictor.fit_rows import FEWEST_RUNS
from accuracy_from_weights.predictor.folds import last_of_each
from accuracy_from_weights.predictor.intervals import LEVELS, conformal_widths, width_at
from accuracy_from_weights.predictor.models.ensemble import Ensemble

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]

HORIZONS = ("now", "final")
_MOST_ROWS = 8_000
_N_RANDOMISED = 20
"""Trees of the randomised kind: what the estimate lacks is simpler than the estimate."""


@dataclass(frozen=True, eq=False)
class Forecaster:
    """From the estimate of a young network to that of the network it will become.

    Attributes
    ----------
    ensemble : Ensemble
        Of the run's final accuracy, from the present estimate as a first guess.
    error : ExpectedError
        Of the forecast.
    widths : ndarray of shape (len(calibration.LEVELS),)
        Half-width of the interval for each coverage, in expected errors.
    """

    ensemble: Ensemble
    error: ExpectedError
    widths: Floats

    @classmethod
    def fit(
        cls,
        X: Rows,
        estimates: Floats,
        progress: Floats,
        finals: Floats,
        runs: NDArray[Any],
        coverage: float,
        n_folds: int,
        random_state: int,
        n_jobs: int | None,
    ) -> tuple[Forecaster, dict[str, Any]] | tuple[None, None]:
        """Fit to unfinished checkpoints of finished runs.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            Finite features. A run's rows stand in the order of its training.
        estimates : ndarray of shape (n_rows,)
            Of the present accuracy, by models that had not seen the row's run; fractions.
        progress : ndarray of shape (n_rows,)
            See `checked_progress`; rows at 1, or where it is NaN, are left out. Of many runs some
            are drawn, since the estimate knows them all.
        finals : ndarray of shape (n_rows,)
            See `final_accuracies`.
        runs : ndarray of shape (n_rows,)
        coverage : float
            What the quality states the interval's share of truths for, a fraction.
        n_folds, random_state, n_jobs
            As in `AccuracyPredictor`.

        Returns
        -------
        forecaster : Forecaster or None
            None where fewer than 10 runs have unfinished checkpoints.
        quality : dict or None
            Scores on runs left out of the fit; JSON can hold it.
        """
        young = _some_runs(runs, progress < 1, random_state)
        n_runs = len(np.unique(runs[young]))
        if n_runs < FEWEST_RUNS:
            return None, None
        estimates, runs, y = estimates[young], runs[young], finals[young]
        columns = _columns(X[young], estimates, progress[young])
        folds = min(n_folds, n_runs)
        how = random_state, n_jobs, coverage, _N_RANDOMISED
        whole = CrossFit.of(columns, y, runs, estimates, folds, *how)
        forecasts = _towards(whole.predicted, estimates, progress[young])
        cross = CrossFit.of_predictions(columns, y, forecasts, whole.folds, coverage)
        quality = cross.quality(y, runs, last_of_each(runs), coverage)
        quality["if_it_stayed"] = float(np.abs(estimates - y).mean())
        ensemble = Ensemble.fit(columns, y, estimates, random_state, _N_RANDOMISED)
        return cls(ensemble, cross.error, conformal_widths(cross.scores, runs)), quality

    def fits(self, n_features: int) -> bool:
        """Tell whether the parts, read from a file, belong together."""
        needed = max(self.ensemble.n_features_needed, self.error.n_features_needed)
        return (
            needed <= n_features + 2
            and self.widths.shape == LEVELS.shape
            and bool((self.widths >= 0).all())
        )

    def forecast(
        self, X: Rows, estimates: Floats, half_widths: Floats, progress: Floats, coverage: float
    ) -> tuple[Floats, Floats]:
        """Turn estimates of the present accuracy into forecasts of the final one.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            Finite features.
        estimates, half_widths : ndarray of shape (n_rows,)
            Fractions, and units of accuracy.
        progress : ndarray of shape (n_rows,)
            See `checked_progress`.
        coverage : float
            Fraction in [0, 1].

        Returns
        -------
        forecasts, half_widths : ndarray of shape (n_rows,)
        """
        columns = _columns(X, estimates, progress)
        ends = self.ensemble.predict(columns, estimates)
        half = width_at(self.widths, coverage) * self.error.predict(columns)
        return _towards(ends, estimates, progress), np.where(progress < 1, half, half_widths)


def checked_progress(
    horizon: str, progress: ArrayLike | None, n_networks: int, forecaster: Forecaster | None
) -> Floats | None:
    """Check what a forecast is asked for.

    Parameters
    ----------
    horizon : {"now", "final"}
    progress : float or array-like of shape (n_networks,), or None
        Share of the planned training that is done, fractions in [0, 1].
    n_networks : int
    forecaster : Forecaster or None
        What the predictor has of it.

    Returns
    -------
    ndarray of shape (n_networks,) or None
        None for the horizon "now".

    Raises
    ------
    InvalidArgumentError
        When there is no such horizon, the predictor cannot forecast, or progress is missing where
        it is needed, no fraction, or of another length.
    """
    if horizon not in HORIZONS:
        raise InvalidArgumentError(
            f"Invalid value for argument `horizon`. Expected one of {HORIZONS}. "
            f"Received: {horizon!r}."
        )
    if horizon == "now":
        return None
    if forecaster is None:
        raise InvalidArgumentError(
            "Expected for horizon='final' a predictor that was fitted to runs with several "
            "checkpoints each. Received: one that was not; retrain it on such runs."
        )
    done = np.asarray(np.nan if progress is None else progress, float)
    if done.shape not in ((), (n_networks,)) or not ((done >= 0) & (done <= 1)).all():
        raise InvalidArgumentError(
            "Invalid value for argument `progress`. Expected for horizon='final' the share of the "
            "planned training that is done, from 0 to 1: epochs done divided by epochs planned. "
            f"Received: {progress!r}."
        )
    return np.broadcast_to(done, n_networks)


def final_accuracies(accuracies: ArrayLike, progress: ArrayLike, runs: ArrayLike) -> Floats:
    """Tell which accuracy each checkpoint's run ended with.

    Parameters
    ----------
    accuracies, progress, runs : array-like of shape (n,)
        Of checkpoints: fractions, shares of the planned training, names.

    Returns
    -------
    ndarray of shape (n,)
        Fractions. A run without its last checkpoint diverged before it: it ends where it began,
        with the accuracy of its first checkpoint.

    Raises
    ------
    ZooError
        When lengths differ or progress is outside [0, 1]; NaN stands for unknown.
    """
    truth, done = np.asarray(accuracies, float), np.asarray(progress, float)
    if done.shape != truth.shape or ((done < 0) | (done > 1)).any():
        raise ZooError(
            "Expected for each checkpoint the share of its run's planned training that was done, "
            f"from 0 to 1. Received: {len(done)} for {len(truth)} checkpoints, "
            f"{np.nanmin(done):.3g} to {np.nanmax(done):.3g}."
        )
    _, run = np.unique(np.asarray(runs), return_inverse=True)
    order = np.lexsort((done, run))
    starts = np.searchsorted(run[order], np.arange(run.max() + 1))
    first, last = order[starts], order[np.append(starts[1:], len(run)) - 1]
    return np.where(done[last] < 1, truth[first], truth[last])[run]


def _towards(ends: Floats, estimates: Floats, progress: Floats) -> Floats:
    """Go from the estimate to the end by as much as of the training is left."""
    return progress * estimates + (1 - progress) * ends


def _some_runs(
    runs: NDArray[Any], usable: NDArray[np.bool_], random_state: int
) -> NDArray[np.bool_]:
    """Keep usable rows of as many runs as make up `_MOST_ROWS`."""
    names, counts = np.unique(runs[usable], return_counts=True)
    order = np.random.default_rng(random_state).permutation(len(names))
    kept = names[order[np.cumsum(counts[order]) <= _MOST_ROWS]]
    return usable & np.isin(runs, kept)


def _columns(X: Rows, estimates: Floats, progress: Floats) -> Rows:
    return np.column_stack([X, estimates, progress]).astype(np.float32)
