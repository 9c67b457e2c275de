"""Forecasts: the accuracy that a run will end with, from the weights of its young network.

The models behind the estimate once more, fitted to another target: by how much the accuracy at the
end of the run exceeds the present estimate. They also see that estimate and how far the run has
come, because the same weights promise more at the beginning of a long run than at the end of a
short one. Their answer counts as much as of the training is left: late in a run it would be more
about the estimate's errors, of which they know no more than the estimate does. At the end nothing
is left to forecast: there the forecast is the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accuracy_from_weights.errors import InvalidArgumentError, invalid_argument
from accuracy_from_weights.predictor.cross_fitting import CrossFit, answers_left_out
from accuracy_from_weights.predictor.expected_error import ExpectedError
from accuracy_from_weights.predictor.fit_rows import FEWEST_RUNS, FitRows, FitSettings
from accuracy_from_weights.predictor.folds import Counter
from accuracy_from_weights.predictor.intervals import LEVELS, conformal_widths, width_at
from accuracy_from_weights.predictor.models.ensemble import Ensemble

Floats = NDArray[np.float64]
Features = NDArray[np.float32]

HORIZONS = ("now", "final")
_MOST_ROWS = 5_000
_N_RANDOMISED = 20
"""Trees of the randomised kind: what the estimate lacks is simpler than the estimate."""
MOST_FOLDS = 4


@dataclass(frozen=True, eq=False)
class Forecaster:
    """From the estimate of a young network to that of the network it will become.

    Attributes
    ----------
    ensemble : Ensemble
        Of the run's final accuracy, from the present estimate as a first guess.
    error : ExpectedError
        Of the forecast.
    widths : ndarray of shape (len(intervals.LEVELS),)
        Half-width of the interval for each coverage, in expected errors.
    """

    ensemble: Ensemble
    error: ExpectedError
    widths: Floats

    @classmethod
    def fit(
        cls,
        rows: FitRows,
        estimates: Floats,
        n_folds: int,
        settings: FitSettings,
        count: Counter,
    ) -> tuple[Forecaster, dict[str, Any]] | tuple[None, None]:
        """Fit to unfinished checkpoints of finished runs.

        Parameters
        ----------
        rows : FitRows
            With progress and finals; rows at 1, or where progress is NaN, are left out. Of many
            runs some are drawn, since the estimate knows them all.
        estimates : ndarray of shape (n_rows,)
            Of the present accuracy, by models that had not seen the row's run; fractions.
        n_folds : int
            Folds of the estimates; the forecast takes at most four.
        settings : FitSettings
        count : Counter
            Told of each fold.

        Returns
        -------
        Forecaster and its scores on runs left out of the fit, which JSON can hold; both None where
        fewer than 10 runs have unfinished checkpoints.
        """
        assert rows.progress is not None
        assert rows.finals is not None
        chosen = _some_runs(rows, settings.random_state)
        n_runs = len(np.unique(rows.runs[chosen]))
        if n_runs < FEWEST_RUNS:
            return None, None
        young, now, done = rows.take(chosen), estimates[chosen], rows.progress[chosen]
        finals, n_units = rows.finals[chosen], len(np.unique(rows.units[chosen]))
        young = replace(young, X=_columns(young.X, now, done), y=finals, guess=now, domains=None)
        settings = replace(
            settings, n_folds=min(n_folds, MOST_FOLDS, n_units), n_randomised=_N_RANDOMISED
        )
        ends, folds = answers_left_out(young, settings, count)
        cross = CrossFit.of(young, _towards(ends, now, done), folds, settings.coverage)
        quality = cross.quality(young, settings.coverage)
        quality["if_it_stayed"] = float(np.abs(now - finals).mean())
        ensemble = Ensemble.fit(young, settings)
        return cls(ensemble, cross.error, conformal_widths(cross.scores, young.units)), quality

    def fits(self, n_features: int) -> bool:
        """Return whether the parts, read from a file, belong together."""
        needed = max(self.ensemble.n_features_needed, self.error.n_features_needed)
        return (
            needed <= n_features + 2
            and self.widths.shape == LEVELS.shape
            and bool((self.widths >= 0).all())
        )

    def forecast(
        self,
        X: Features,
        *,
        estimates: Floats,
        half_widths: Floats,
        progress: Floats,
        coverage: float,
    ) -> tuple[Floats, Floats]:
        """Turn estimates and half-widths of the present accuracy into those of the final one.

        All are of shape (n_rows,); `X` holds finite features. For progress see `checked_progress`.
        """
        columns = _columns(X, estimates, progress)
        ends = self.ensemble.predict(columns, estimates)
        half = width_at(self.widths, coverage) * self.error.predict(columns)
        return _towards(ends, estimates, progress), np.where(progress < 1, half, half_widths)


def checked_progress(
    horizon: str, progress: ArrayLike | None, n_networks: int, *, can_forecast: bool
) -> Floats | None:
    """Return the share of training done of each network, or None for the horizon "now".

    Raises
    ------
    InvalidArgumentError
        When there is no such horizon, the predictor cannot forecast, or progress is missing where
        it is needed, no fraction, or of another length than 1 and the number of networks.
    """
    if not isinstance(horizon, str) or horizon not in HORIZONS:
        raise invalid_argument("horizon", horizon, "'now' or 'final'")
    if horizon == "now":
        return None
    if not can_forecast:
        raise InvalidArgumentError(
            "This predictor cannot forecast (horizon='final'), since it was fitted to runs of one "
            "checkpoint each; retrain it on runs with several."
        )
    done = np.asarray(np.nan if progress is None else progress, float)
    if done.shape not in ((), (n_networks,)) or not ((done >= 0) & (done <= 1)).all():
        raise invalid_argument(
            "progress",
            progress,
            "for horizon='final' the share of the planned training that is done: epochs done "
            "divided by epochs planned, from 0 to 1",
        )
    return np.broadcast_to(done, n_networks)


def _towards(ends: Floats, estimates: Floats, progress: Floats) -> Floats:
    """Move from the estimate to the end by as much as of the training is left."""
    return progress * estimates + (1 - progress) * ends


def _some_runs(rows: FitRows, random_state: int) -> NDArray[np.bool_]:
    """Return which unfinished rows to fit to: those of as many runs as make up `_MOST_ROWS`."""
    assert rows.progress is not None
    usable = rows.progress < 1
    names, counts = np.unique(rows.runs[usable], return_counts=True)
    order = np.random.default_rng(random_state).permutation(len(names))
    kept = names[order[np.cumsum(counts[order]) <= _MOST_ROWS]]
    return usable & np.isin(rows.runs, kept)


def _columns(X: Features, estimates: Floats, progress: Floats) -> Features:
    return np.column_stack([X, estimates, progress]).astype(np.float32)
