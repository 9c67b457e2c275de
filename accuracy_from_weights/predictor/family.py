"""Family check: whether a network looks like those that the predictor was fitted to.

The distance of a network is that to its nearest neighbours in the zoo, in features scaled by the
zoo's spread. It is measured for each kind of feature by itself (architecture, weights, answers to
probes, log and training sample), and the kind in which the network is the strangest decides: an
unheard-of input would drown among hundreds of usual statistics. What is reported is a p-value: the
share of the zoo's own networks that lie at least as far from all runs but their own (a conformal
p-value; Laxhammar & Falkman 2010, "Conformal prediction for distribution-independent anomaly
detection").

An interval is calibrated on networks of the same zoo and means nothing for others. How much the
errors of networks outside the family outgrow it is learned by leaving whole domains of the zoo out
(a data set, a kind of architecture).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray

from accuracy_from_weights.predictor.cross_fitting import CrossFit, each_domain
from accuracy_from_weights.predictor.estimate import FAMILY_LEVEL
from accuracy_from_weights.predictor.expected_error import ExpectedError
from accuracy_from_weights.predictor.fit_rows import (
    FEWEST_RUNS,
    FitRows,
    FitSettings,
    RowNumbers,
)
from accuracy_from_weights.predictor.intervals import conformal_widths
from accuracy_from_weights.predictor.models.ensemble import Ensemble, trusted

Floats = NDArray[np.float64]

_NEIGHBOURS = 3
_REFERENCES = 800
"""Networks kept to measure distances to: enough for the shape of a zoo, and under 2 MB."""
_LARGEST_STEP = 20.0
"""A feature farther off than so many of the zoo's spreads counts as so many."""
_MOST_ROWS = 1_600
"""Rows that an ensemble is fitted to: how far off it is elsewhere does not depend on more."""
_FEWEST_OUTSIDE, _NOT_KNOWN = 30, 1e6
_USUAL, _SMALLEST_DISTANCE = 0.95, 1e-3
_KINDS = {"architecture": "architecture", "probes": "probes", "log": "sample", "sample": "sample"}
"""Kinds of features by the first part of their names; all others describe the weights."""


@dataclass(frozen=True, eq=False)
class FamilyCheck:
    """Distance to a zoo as a p-value.

    Attributes
    ----------
    centre, scale : ndarray of shape (n_features,)
    references : ndarray of shape (n_references, n_features), float32
        Scaled features of networks of the zoo.
    kinds : ndarray of shape (n_features,), int64
        The kind of each feature, counted from 0.
    usual : ndarray of shape (n_kinds,)
        The distance in each kind that 95% of the zoo's own networks stay below.
    distances : ndarray of shape (n_calibration,)
        Sorted distances of the zoo's own networks: the largest over the kinds, each in units of
        the usual one.
    """

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    references: NDArray[np.float32]
    kinds: NDArray[np.int64]
    usual: NDArray[np.float32]
    distances: NDArray[np.float32]

    def __post_init__(self) -> None:
        n_features = len(self.centre)
        if not (
            self.scale.shape == self.centre.shape == (n_features,)
            and self.references.ndim == 2
            and self.references.shape[1] == n_features
            and len(self.references) >= _NEIGHBOURS
            and self.kinds.shape == (n_features,)
            and set(self.kinds.tolist()) == set(range(len(self.usual)))
            and bool((self.usual > 0).all())
            and self.distances.ndim == 1
            and bool((self.scale > 0).all())
        ):
            raise ValueError("arrays of a family check whose shapes do not fit together")

    @classmethod
    def fit(
        cls,
        X: NDArray[np.float32],
        units: ArrayLike,
        random_state: int,
        names: Sequence[str] = (),
    ) -> FamilyCheck:
        """Learn the family.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            Finite features.
        units : array-like of shape (n_rows,)
            Run or task of each row. A network is not compared with others of its own, which are
            near it whatever they are.
        random_state : int
        names : sequence of str
            The columns' names, which tell their kinds; without them all are of one.
        """
        units = np.asarray(units)
        centre = X.mean(axis=0)
        spread = X.std(axis=0)
        # A number that never varied in the zoo, say that of layers, is unlike if it differs at all.
        scale = np.maximum(spread, 0.02 * (1 + np.abs(centre)))
        z = np.clip((X - centre) / scale, -_LARGEST_STEP, _LARGEST_STEP)
        generator = np.random.default_rng(random_state)
        shuffled = generator.permutation(len(z))
        chosen, asked = shuffled[:_REFERENCES], shuffled[: 4 * _REFERENCES]
        # Rounded as in half precision, which halves the predictor's file and moves no distance.
        references = z[chosen].astype(np.float16).astype(np.float32)
        kinds = _kinds_of(names, X.shape[1])
        far = _distances(z[asked], references, kinds, units[asked][:, None] == units[chosen])
        usual = np.maximum(np.quantile(far, _USUAL, axis=0), _SMALLEST_DISTANCE)
        usual = usual.astype(np.float32)
        return cls(centre, scale, references, kinds, usual, np.sort((far / usual).max(axis=1)))

    def p_values(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the share of the zoo's networks that are at least as unlike the rest of it.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
            In (0, 1]; small means unlike.
        """
        z = (np.asarray(X, np.float32) - self.centre) / self.scale
        far = _distances(np.clip(z, -_LARGEST_STEP, _LARGEST_STEP), self.references, self.kinds)
        far = (far / self.usual).max(axis=1)
        n = len(self.distances)
        farther = n - np.searchsorted(self.distances, far)
        return np.asarray((farther + 1) / (n + 1), np.float64)


def _kinds_of(names: Sequence[str], n_features: int) -> NDArray[np.int64]:
    """Return the kind of each feature, by the first part of its name."""
    if len(names) != n_features:
        return np.zeros(n_features, np.int64)
    kinds = [_KINDS.get(name.partition(".")[0], "weights") for name in names]
    return np.unique(kinds, return_inverse=True)[1].astype(np.int64)


def _distances(
    z: NDArray[np.float32],
    references: NDArray[np.float32],
    kinds: NDArray[np.int64],
    excluded: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return mean distances to the nearest references, of shape (n_rows, n_kinds).

    Excluded pairs, of shape (n_rows, n_references), do not count.
    """
    columns = []
    for kind in range(kinds.max() + 1):
        ours, theirs = z[:, kinds == kind], references[:, kinds == kind]
        squares = (ours**2).sum(axis=1)[:, None] + (theirs**2).sum(axis=1) - 2 * (ours @ theirs.T)
        far = np.sqrt(np.maximum(squares / ours.shape[1], 0))
        if excluded is not None:
            far = np.where(excluded, np.inf, far)
        columns.append(np.partition(far, _NEIGHBOURS - 1, axis=1)[:, :_NEIGHBOURS].mean(axis=1))
    return np.stack(columns, axis=1).astype(np.float32)


def widening_outside(
    described: FitRows,
    rows: FitRows,
    cross: CrossFit,
    trust: float,
    settings: FitSettings,
    names: Sequence[str] = (),
) -> float:
    """Return the factor on the half-width of the intervals of networks outside the family.

    It is the larger of two: that of networks of tasks left out, whose errors are known from the
    folds, and that of networks of domains left out, for each of which models are fitted anew.

    Parameters
    ----------
    described : FitRows
        With all columns, which the family check reads.
    rows : FitRows
        The same with the columns that the models read.
    cross : CrossFit
        Of the rows.
    trust : float
        See `FittedState`.
    settings : FitSettings
    names : sequence of str
        See `FamilyCheck.fit`.

    Returns
    -------
    float
        At least 1. Where too few networks are outside to learn from, it makes any interval [0, 1].
    """
    generator = np.random.default_rng(settings.random_state)
    errors = np.abs(cross.predicted - rows.y)

    def outside(known: RowNumbers, asked: RowNumbers) -> RowNumbers:
        X, units = described.X, rows.units
        family = FamilyCheck.fit(X[known], units[known], settings.random_state, names)
        return asked[family.p_values(X[asked]) < FAMILY_LEVEL]

    strange = np.concatenate([outside(*fold) for fold in cross.folds])
    stranger, calls = [np.empty(0, np.intp)], []
    for _, is_left_out in each_domain(rows.domains):
        known, asked = (
            generator.permutation(np.flatnonzero(part))[:_MOST_ROWS]
            for part in (~is_left_out, is_left_out)
        )
        if len(np.unique(rows.runs[known])) < FEWEST_RUNS:
            continue
        asked = outside(known, asked)
        if len(asked):
            stranger.append(asked)
            few = rows.take(known), errors[known], rows.take(asked)
            calls.append(delayed(_scores)(*few, cross.error.power, trust, settings))
    scores = np.concatenate([np.empty(0), *Parallel(n_jobs=settings.n_jobs)(calls)])
    width = max(conformal_widths(cross.scores, rows.units, [settings.coverage])[0], 1e-6)
    factors = [
        min(conformal_widths(found, rows.units[who], [settings.coverage])[0], found.max()) / width
        for found, who in ((cross.scores[strange], strange), (scores, np.concatenate(stranger)))
        if len(found) >= _FEWEST_OUTSIDE
    ]
    return float(np.clip(max(factors, default=_NOT_KNOWN), 1, _NOT_KNOWN))


def _scores(
    known: FitRows,
    errors: Floats,
    asked: FitRows,
    power: float,
    trust: float,
    settings: FitSettings,
) -> Floats:
    """Return the errors of some rows over those that other rows make expect."""
    answers = Ensemble.fit(known, settings).predict(asked.X, asked.guess)
    expected = ExpectedError.fit(known, errors, power).predict(asked.X)
    return np.abs(trusted(answers, asked.guess, trust) - asked.y) / expected
