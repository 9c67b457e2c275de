"""Retraining that starts from a fitted predictor: a correction of its estimates, shrunk to it.

A user's finished runs are too few for a predictor of their own for a long time, and the predictor
that ships knows neither the level nor the fine differences of their task. Three steps go from one
to the other, each of which does nothing where the runs give no reason to:

1. The base predictor is anchored to the runs (`anchoring`).
2. An ensemble is fitted to the accuracy, with the anchored estimate as first guess and as a
   further feature.
3. The ensemble is trusted by as much as its answers for runs left out are nearer to the truth than
   the anchored estimates (stacked regression; Breiman 1996), shrunk to nothing for few runs.

With fewer than 10 runs there is no telling what an ensemble would be worth: the first step is all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from joblib import delayed
from numpy.typing import NDArray
from scipy.stats import t

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.predictor.anchoring import Anchor
from accuracy_from_weights.predictor.cross_fitting import CrossFit, counted, trust_in
from accuracy_from_weights.predictor.family import FamilyCheck
from accuracy_from_weights.predictor.fit_rows import (
    FEWEST_RUNS,
    FitRows,
    FitSettings,
    RowNumbers,
    as_models_read,
    finite_rows,
)
from accuracy_from_weights.predictor.fitted_state import FittedState, with_column
from accuracy_from_weights.predictor.fitting import counter_of
from accuracy_from_weights.predictor.folds import Counter, Progress, group_folds
from accuracy_from_weights.predictor.forecasting import Forecaster
from accuracy_from_weights.predictor.intervals import conformal_widths, unit_weights, width_at
from accuracy_from_weights.predictor.models.ensemble import Ensemble, trusted

Floats = NDArray[np.float64]

_FEWEST_FOR_WIDTHS = 20
_LEVEL = 0.9
"""The coverage at which few runs set the scale of the widths."""


def correct_state(
    base: FittedState,
    every_row: FitRows,
    settings: FitSettings,
    on_fold: Progress | None = None,
) -> FittedState:
    """Fit a correction of a predictor's estimates.

    Diverged networks, rows with NaN, tell what an untrained network's accuracy is. The base becomes
    a part of the result.

    Raises
    ------
    ZooError
        When no network has finite weights.
    """
    finite = finite_rows(every_row.X)
    rows = every_row.take(finite)
    if not len(rows):
        raise ZooError("There is no network with finite weights to correct the predictor by.")
    base = replace(base, anchor=Anchor())
    n_runs = len(np.unique(rows.runs))
    card: dict[str, Any] = {"n_networks": len(rows), "n_runs": n_runs, "base": base.card}
    anchored = replace(base, anchor=anchor_to(base, rows, settings.coverage))
    if (~finite).any():
        untrained = np.quantile(every_row.y[~finite], (0.5, 0, 1))
        anchored = replace(anchored, untrained=untrained)
    if n_runs < FEWEST_RUNS:
        Counter(1, on_fold).finish()
        return replace(anchored, card=card)
    n_folds = settings.folds_for(rows)
    folds = group_folds(rows.units, n_folds, settings.random_state)
    correcting = replace(settings, corrects_estimates=True)
    count = counter_of(rows, settings, on_fold)
    fits = (delayed(_answers)(base, rows, train, test, correcting) for train, test in folds)
    left_out = counted(fits, settings.n_jobs, count)
    guesses, answers = np.empty((2, len(rows)))
    for (_, test), (guess, answer) in zip(folds, left_out, strict=True):
        guesses[test], answers[test] = guess, answer
    trust = trust_in(answers, guesses, rows)
    guessed = with_guess(anchored, rows)
    predicted = trusted(answers, guesses, trust)
    cross = CrossFit.of(guessed, predicted, folds, settings.coverage)
    card |= {"trust": trust, "quality": cross.quality(rows, settings.coverage)}
    forecaster = base.forecaster
    if rows.progress is not None:
        read = replace(rows, X=as_models_read(rows.X, base.names))
        own, worth = Forecaster.fit(read, cross.predicted, len(folds), settings, count)
        if own is not None:
            forecaster, card = own, card | {"forecast": worth}
    state = FittedState(
        names=base.names,
        n_features=base.n_features,
        ensemble=Ensemble.fit(guessed, correcting),
        error=cross.error,
        widths=_widths(base, cross, rows),
        widening=base.widening,
        family=FamilyCheck.fit(rows.X, rows.units, settings.random_state, base.names),
        untrained=anchored.untrained,
        forecaster=forecaster,
        card=card,
        base=anchored,
        trust=trust,
    )
    count.finish()
    return state


def anchor_to(base: FittedState, rows: FitRows, coverage: float) -> Anchor:
    """Return the anchor of a predictor to networks of known accuracy."""
    centres, half, _ = base.unanchored(rows.X, coverage)
    return Anchor.fit(centres, half, rows.y)


def with_guess(anchored: FittedState, rows: FitRows) -> FitRows:
    """Return rows with the anchored estimate as first guess and as a further column."""
    guess = anchored.judged(rows.X, 0.5)[0]
    read = as_models_read(rows.X, anchored.names)
    return replace(rows, X=with_column(read, guess), guess=guess)


def _widths(base: FittedState, cross: CrossFit, rows: FitRows) -> Floats:
    """Return the half-widths of the intervals for each coverage, in expected errors.

    Of few runs the largest errors are a matter of chance, and conformal intervals as wide as they:
    there the base's widths are kept up to a factor, the runs' root mean square as the standard
    deviation of a t distribution.
    """
    n_units = len(np.unique(rows.units))
    if n_units >= _FEWEST_FOR_WIDTHS:
        return conformal_widths(cross.scores, rows.units)
    deviation = np.sqrt((unit_weights(rows.units) * cross.scores**2).sum())
    half = deviation * t.ppf((1 + _LEVEL) / 2, n_units - 1)
    return np.asarray(base.widths * half / width_at(base.widths, _LEVEL), np.float64)


def _answers(
    base: FittedState, rows: FitRows, train: RowNumbers, test: RowNumbers, settings: FitSettings
) -> tuple[Floats, Floats]:
    """Return the anchored estimates and the ensemble's answers for rows left out."""
    known = rows.take(train)
    anchored = replace(base, anchor=anchor_to(base, known, settings.coverage))
    asked = with_guess(anchored, rows.take(test))
    ensemble = Ensemble.fit(with_guess(anchored, known), settings)
    return asked.guess, ensemble.predict(asked.X, asked.guess)
