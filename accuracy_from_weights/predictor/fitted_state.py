"""Everything that a fit learns, as one frozen object that judges rows of features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.log_columns import first_guess
from accuracy_from_weights.predictor.anchoring import Anchor
from accuracy_from_weights.predictor.estimate import FAMILY_LEVEL
from accuracy_from_weights.predictor.expected_error import ExpectedError
from accuracy_from_weights.predictor.family import FamilyCheck
from accuracy_from_weights.predictor.fit_rows import Features, finite_rows
from accuracy_from_weights.predictor.forecasting import Forecaster
from accuracy_from_weights.predictor.intervals import LEVELS, width_at
from accuracy_from_weights.predictor.models.ensemble import Ensemble, trusted

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedState:
    """A fitted predictor without its settings.

    Attributes
    ----------
    names : tuple of str
        Names of the columns; none where they are the user's own.
    n_features : int
    ensemble : Ensemble
        Of the accuracy.
    error : ExpectedError
        Of the estimate.
    widths : ndarray of shape (len(intervals.LEVELS),)
        Half-width of the interval for each coverage, in expected errors.
    widening : float
        Factor on the half-width outside the family.
    family : FamilyCheck
    untrained : ndarray of shape (3,)
        Accuracy of an untrained network, and the ends of its interval; fractions.
    anchor : Anchor
    forecaster : Forecaster or None
    card : dict
        Facts about the fit, as JSON can hold them.
    base : FittedState or None
        The predictor whose estimates this one corrects, see `correcting`. They are the ensemble's
        first guess, and the last column of what it and the expected error read.
    trust : float
        How much of the way from the first guess to the ensemble's answer the estimate goes, in
        [0, 1].
    """

    names: tuple[str, ...]
    n_features: int
    ensemble: Ensemble
    error: ExpectedError
    widths: Floats
    widening: float
    family: FamilyCheck
    untrained: Floats
    anchor: Anchor = field(default_factory=Anchor)
    forecaster: Forecaster | None = None
    card: dict[str, Any] = field(default_factory=dict)
    base: FittedState | None = None
    trust: float = 1.0

    def __post_init__(self) -> None:
        n = self.n_features
        n_read = n if self.base is None else n + 1
        fits = (
            len(self.names) in (0, n)
            and self.untrained.shape == (3,)
            and bool(((self.untrained >= 0) & (self.untrained <= 1)).all())
            and self.widths.shape == LEVELS.shape
            and bool((self.widths >= 0).all())
            and 1 <= self.widening < np.inf
            and len(self.family.centre) == n
            and max(self.ensemble.n_features_needed, self.error.n_features_needed) <= n_read
            and (self.forecaster is None or self.forecaster.fits(n))
            and 0 <= self.trust <= 1
            and (self.base is None or self.base.names == self.names)
            and (self.base is None or self.base.n_features == n)
        )
        if not fits:
            raise ValueError("parts of different predictors")

    def judged(
        self, rows: Features, coverage: float, progress: Floats | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Return accuracies (n_rows,), intervals (n_rows, 2) and p-values of the family check.

        A row with NaN is a diverged network. With progress of shape (n_rows,), the accuracies are
        forecasts, see `Forecaster`.
        """
        finite = finite_rows(rows)
        centres, half, p_values = self.unanchored(rows, coverage, progress)
        accuracies = np.where(finite, self.anchor.centre(centres), self.untrained[0])
        ends = self.anchor.ends(centres, half)
        return accuracies, np.where(finite[:, None], ends, self.untrained[1:]), p_values

    def unanchored(
        self, rows: Features, coverage: float, progress: Floats | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Return centres, half-widths and p-values before the anchor's correction.

        Centres and half-widths of diverged networks are 0; see `judged`.
        """
        centres, half = np.zeros((2, len(rows)))
        p_values, finite = self.p_values(rows), finite_rows(rows)
        if finite.any():
            known, guess = rows[finite], self.guess(rows[finite])
            read = known if self.base is None else with_column(known, guess)
            centre = trusted(self.ensemble.predict(read, guess), guess, self.trust)
            width = width_at(self.widths, coverage) * self.error.predict(read)
            if progress is not None and self.forecaster is not None:
                centre, width = self.forecaster.forecast(
                    known,
                    estimates=centre,
                    half_widths=width,
                    progress=progress[finite],
                    coverage=coverage,
                )
            widening = np.where(p_values[finite] < FAMILY_LEVEL, self.widening, 1)
            centres[finite], half[finite] = centre, widening * width
        return centres, half, p_values

    def guess(self, rows: Features) -> Floats:
        """Return the accuracies that the ensemble corrects, shape (n_rows,)."""
        if self.base is not None:
            return self.base.judged(rows, 0.5)[0]
        return first_guess(rows, self.names)

    def p_values(self, rows: Features) -> Floats:
        """Return the p-value of each row's family check, the smallest for diverged networks."""
        p_values = np.full(len(rows), 1 / (len(self.family.distances) + 1))
        finite = finite_rows(rows)
        p_values[finite] = self.family.p_values(rows[finite])
        return p_values


def with_column(rows: Features, column: Floats) -> Features:
    """Return rows with one column more, shape (n_rows, n_features + 1)."""
    return np.column_stack([rows, column]).astype(np.float32)
