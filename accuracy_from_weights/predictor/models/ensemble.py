"""The ensemble behind the estimate: three models fitted by scikit-learn, kept as plain arrays.

Boosted trees, extremely randomised trees and a smooth function err in different places: their mean
is better than any of them. The smooth function is a kernel machine where rows are few, else a small
neural network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from threadpoolctl import threadpool_limits

from accuracy_from_weights.predictor.fit_rows import FitRows, FitSettings
from accuracy_from_weights.predictor.models.boosting import fit_boosted
from accuracy_from_weights.predictor.models.forest import Forest, as_forest
from accuracy_from_weights.predictor.models.kernel_machine import KernelMachine
from accuracy_from_weights.predictor.models.perceptron import Perceptron
from accuracy_from_weights.predictor.models.targets import (
    GAP,
    LOGIT,
    LOGIT_GAP,
    TARGETS,
    accuracy_of,
    target_of,
)

Floats = NDArray[np.float64]

_EVEN = (1.0, 1.0, 1.0)
_VERY_FEW_ROWS, _FEW_ROWS, _MANY_ROWS = 300, 2_500, 8_000
# With many rows trees may be finer, and randomised ones, the steadiest and least sharp, count half.
# With fewer it is the small network that is the least certain.
_SHARES_OF_SOME, _SHARES_OF_MANY = (2.0, 2.0, 1.0), (2.0, 1.0, 2.0)
_FEW_RUNS = 60
"""Fewer runs, or tasks, tell less of the accuracy than the estimates that they correct."""
Smooth = KernelMachine | Perceptron
_N_RANDOMISED_AT_THE_ENDS = 30
"""With very few rows more trees add nothing but time; with many, their file grows large."""


def threads_for(n_rows: int) -> threadpool_limits:
    """Return a context that keeps a small fit to one thread.

    Boosting on few rows synchronises its threads some thousand times a second. On a busy machine
    each time waits for the thread that has no core, and seconds become minutes.
    """
    return threadpool_limits(1 if n_rows < _MANY_ROWS else None)


def trusted(answers: Floats, guess: Floats, trust: float) -> Floats:
    """Go from first guesses so much of the way to an ensemble's answers."""
    return guess + trust * (answers - guess)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Three models of an accuracy, averaged.

    Attributes
    ----------
    boosted, randomised : Forest
    smooth : KernelMachine or Perceptron
    shares : tuple of float, length 3
        How much each of them counts in the mean.
    targets : tuple of {"logit", "gap", "logit gap"}, length 3
        The target of each of them, see `targets`.
    """

    boosted: Forest
    randomised: Forest
    smooth: Smooth
    shares: tuple[float, ...] = _EVEN
    targets: tuple[str, ...] = (GAP, GAP, GAP)

    def __post_init__(self) -> None:
        if len(self.targets) != len(_EVEN) or not set(self.targets) <= set(TARGETS):
            raise ValueError(f"{self.targets} are not three targets of {TARGETS}")
        if len(self.shares) != len(_EVEN) or not all(0 < share < 1e3 for share in self.shares):
            raise ValueError(f"{self.shares} are not three shares above 0")

    @classmethod
    def fit(cls, rows: FitRows, settings: FitSettings) -> Ensemble:
        """Fit the three models to rows of finite features."""
        X, weights, random_state = rows.X, rows.weights, settings.random_state
        is_small, is_large = len(rows) < _FEW_ROWS, len(rows) >= _MANY_ROWS
        is_tiny, n_randomised = len(rows) < _VERY_FEW_ROWS, settings.n_randomised
        if is_tiny or is_large:
            n_randomised = min(n_randomised, _N_RANDOMISED_AT_THE_ENDS)
        randomised = ExtraTreesRegressor(
            n_randomised,
            max_features=0.3,
            min_samples_leaf=2,
            max_leaf_nodes=1024,
            random_state=random_state,
        )
        shares = _EVEN if is_small else _SHARES_OF_MANY if is_large else _SHARES_OF_SOME
        targets = (LOGIT, GAP, LOGIT if is_small else GAP)
        if settings.knows_sample:
            targets, shares = (LOGIT, LOGIT, GAP), _SHARES_OF_SOME
        elif rows.tasks is not None:
            # Accuracies on new tasks are so uncertain that their plain mean is the safest answer.
            targets, shares = (GAP, GAP, GAP), _SHARES_OF_SOME
        if settings.corrects_estimates:
            # Few runs correct what is known; many tell more than the estimates, which the models
            # still read as a feature.
            own = LOGIT_GAP if len(np.unique(rows.units)) < _FEW_RUNS else LOGIT
            targets = (LOGIT, own, own)
        boosted_y, randomised_y, smooth_y = (
            target_of(rows.y, rows.guess, kind) for kind in targets
        )
        with threads_for(len(rows)):
            smooth: Smooth = (
                KernelMachine.fit(X, smooth_y, weights)
                if is_small
                else Perceptron.fit(X, smooth_y, random_state, weights)
            )
            boosted = fit_boosted(
                X,
                boosted_y,
                weights,
                # Very few rows lose nothing by fewer and larger steps.
                learning_rate=0.2 if is_tiny else 0.06,
                max_iter=60 if is_tiny else 400 if is_large else 200,
                max_leaf_nodes=31 if is_large else 15,
                min_samples_leaf=8,
            )
            return cls(
                boosted,
                as_forest(randomised.fit(X, randomised_y, sample_weight=weights), X),
                smooth,
                shares,
                targets,
            )

    @property
    def models(self) -> dict[str, Forest | Smooth]:
        """The models by name, in the order of the shares."""
        return {"boosted": self.boosted, "randomised": self.randomised, "smooth": self.smooth}

    @property
    def n_features_needed(self) -> int:
        """The smallest number of columns that `predict` works on."""
        return max(model.n_features_needed for model in self.models.values())

    def predict(self, X: NDArray[np.float32], guess: Floats) -> Floats:
        """Return the mean of the models, fractions of shape (n_rows,)."""
        answers = [
            accuracy_of(model.predict(X), guess, target)
            for model, target in zip(self.models.values(), self.targets, strict=True)
        ]
        return np.asarray(np.average(answers, axis=0, weights=self.shares), np.float64)
