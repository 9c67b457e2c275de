"""The fit of a predictor: from networks of known accuracy to a `FittedState`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from accuracy_from_weights.predictor.cross_fitting import CrossFit, answers_left_out, trust_in
from accuracy_from_weights.predictor.family import FamilyCheck, widening_outside
from accuracy_from_weights.predictor.fit_rows import (
    FitRows,
    FitSettings,
    as_models_read,
    check_number_of_runs,
    finite_rows,
    know_sample,
)
from accuracy_from_weights.predictor.fitted_state import FittedState
from accuracy_from_weights.predictor.folds import Counter, Progress
from accuracy_from_weights.predictor.forecasting import MOST_FOLDS, Forecaster
from accuracy_from_weights.predictor.intervals import conformal_widths
from accuracy_from_weights.predictor.models.ensemble import Ensemble, trusted

_MOST_TRUST_ON_NEW_TASKS = 0.5
"""Weights and logs do not say what a task allows, and a user's task may be unlike all of the zoo's:
at least half of such an estimate is training accuracy, which is the rival that costs nothing."""


def fit_state(
    every_row: FitRows,
    names: tuple[str, ...],
    settings: FitSettings,
    on_fold: Progress | None = None,
) -> FittedState:
    """Fit a predictor, and measure it on runs, or tasks, left out.

    Diverged networks, rows with NaN, tell what an untrained network's accuracy is.

    Raises
    ------
    ZooError
        When there are fewer than 10 runs with finite weights.
    """
    finite = finite_rows(every_row.X)
    described = every_row.take(finite)
    check_number_of_runs(described)
    rows = replace(described, X=as_models_read(described.X, names))
    settings = replace(settings, knows_sample=know_sample(names))
    count = counter_of(rows, settings, on_fold)
    answers, folds = answers_left_out(rows, settings, count)
    trust = 1.0
    if rows.guess.any():
        trust = trust_in(answers, rows.guess, rows)
        if rows.tasks is not None and not settings.knows_sample:
            trust = min(trust, _MOST_TRUST_ON_NEW_TASKS)
    cross = CrossFit.of(rows, trusted(answers, rows.guess, trust), folds, settings.coverage)
    card: dict[str, Any] = {
        "n_networks": len(rows),
        "n_runs": len(np.unique(rows.runs)),
        "quality": cross.quality(rows, settings.coverage),
    }
    if rows.guess.any():
        card["trust"] = trust
    if rows.tasks is not None:
        card["n_tasks"] = len(np.unique(rows.tasks))
    forecaster = None
    if rows.progress is not None:
        forecaster, worth = Forecaster.fit(rows, cross.predicted, len(folds), settings, count)
        card |= {"forecast": worth} if worth else {}
    y = every_row.y
    untrained = y[~finite] if (~finite).any() else np.sort(y)[: max(len(y) // 10, 3)]
    state = FittedState(
        names=names,
        n_features=rows.X.shape[1],
        ensemble=Ensemble.fit(rows, settings),
        error=cross.error,
        widths=conformal_widths(cross.scores, rows.units),
        widening=widening_outside(described, rows, cross, trust, settings, names),
        family=FamilyCheck.fit(described.X, rows.units, settings.random_state, names),
        untrained=np.quantile(untrained, (0.5, 0, 1)),
        forecaster=forecaster,
        card=card,
        trust=trust,
    )
    count.finish()
    return state


def counter_of(rows: FitRows, settings: FitSettings, on_fold: Progress | None) -> Counter:
    """Return a counter of the folds of estimate and forecast, and of the last fit."""
    n_folds = settings.folds_for(rows)
    return Counter(n_folds + (MOST_FOLDS if rows.progress is not None else 0) + 1, on_fold)
