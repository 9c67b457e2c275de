"""From a description of a network to its accuracy, an interval, and whether to believe either."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.utils.validation import check_is_fitted

from accuracy_from_weights import persistence
from accuracy_from_weights._arguments import InvalidArgumentError, number_between, positive_int
from accuracy_from_weights.calibration import LEVELS, conformal_widths, width_at
from accuracy_from_weights.errors import (
    AccuracyFromWeightsWarning,
    UnreadableFileError,
)
from accuracy_from_weights.estimate import Estimate
from accuracy_from_weights.family import FamilyCheck
from accuracy_from_weights.features.description import FEATURE_NAMES, describe
from accuracy_from_weights.folds import run_folds
from accuracy_from_weights.forest import Forest
from accuracy_from_weights.inputs import as_features, check_zoo, finite_rows
from accuracy_from_weights.perceptron import Perceptron
from accuracy_from_weights.regressors import Ensemble, ExpectedError
from accuracy_from_weights.weights import read_weights

__all__ = ["AccuracyPredictor", "Estimate"]

Floats = NDArray[np.float64]

_FAMILY_LEVEL = 0.01
"""Below this p-value a network is called outside the family: so many of the zoo's own would be."""


class AccuracyPredictor(RegressorMixin, BaseEstimator):
    """Predict a network's test accuracy from features of its weights.

    The mean of boosted trees, extremely randomised trees and a small network, with conformal
    intervals and a check whether the network is like those fitted on. A scikit-learn regressor: it
    can be cloned, searched over and cross-validated (split by run: ``GroupKFold``).

    Parameters
    ----------
    coverage : float, default=0.9
        Share of unseen runs' networks that the interval is to hold, fraction in (0, 1).
    n_folds : int, default=5
        Folds, by run, that give the errors from which the intervals are made.
    random_state : int, default=0
        Seed of the folds and the trees: equal seeds and data give equal predictors.
    n_jobs : int or None, default=None
        Processes that fit the folds, as in joblib.

    Attributes
    ----------
    feature_names_ : tuple of str
        Names of the columns, when they are those of `features.description`.
    n_features_in_ : int
    card_ : dict
        Facts about the fit that JSON can hold: numbers of runs and networks, and ``quality``, the
        scores on runs left out of the fit.
    """

    def __init__(
        self,
        coverage: float = 0.9,
        n_folds: int = 5,
        random_state: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.coverage = coverage
        self.n_folds = n_folds
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(
        self, X: ArrayLike | Sequence[Any], y: ArrayLike, groups: ArrayLike | None = None
    ) -> AccuracyPredictor:
        """Fit to networks of known accuracy.

        Parameters
        ----------
        X : array-like of shape (n_networks, n_features), or sequence of networks
            Features as `features.description.describe` gives them, or anything that `read_weights`
            takes: models, state dicts, paths. A row with a NaN stands for a diverged network.
        y : array-like of shape (n_networks,)
            Test accuracies, fractions in [0, 1].
        groups : array-like of shape (n_networks,), optional
            The training run of each network. Left out, each network is a run of its own.

        Raises
        ------
        ZooError
            When lengths differ, an accuracy is no fraction, or there are fewer than 10 runs.
        """
        number_between("coverage", self.coverage, 0.01, 0.999)
        positive_int("n_folds", self.n_folds)
        features = as_features(X)
        truth = np.asarray(y, float).ravel()
        runs = np.arange(len(truth)) if groups is None else np.asarray(groups)
        check_zoo(features, truth, runs)
        finite = finite_rows(features)
        names = features.shape[1] == len(FEATURE_NAMES)
        self.n_features_in_ = features.shape[1]
        self.feature_names_ = FEATURE_NAMES if names else ()
        lowest = np.sort(truth)[: max(len(truth) // 10, 3)]
        self._untrained = np.quantile(truth[~finite] if (~finite).any() else lowest, (0.5, 0, 1))
        features, truth, runs = features[finite], truth[finite], runs[finite]
        self._calibrate(features, truth, runs)
        self._family = FamilyCheck.fit(features, runs, self.random_state)
        self._ensemble = Ensemble.fit(features, truth, self.random_state)
        return self

    def _calibrate(self, X: NDArray[np.float32], y: Floats, runs: NDArray[Any]) -> None:
        """Learn from the errors on runs left out how wide an interval has to be."""
        folds = run_folds(runs, self.n_folds, self.random_state)
        ensembles = Parallel(n_jobs=self.n_jobs)(
            delayed(Ensemble.fit)(X[train], y[train], self.random_state) for train, _ in folds
        )
        predicted, expected = np.empty(len(y)), np.empty(len(y))
        for ensemble, (_, test) in zip(ensembles, folds, strict=True):
            predicted[test] = ensemble.predict(X[test])
        errors = np.abs(predicted - y)
        for train, test in folds:
            # Also crosswise: an expected error that had seen the error would promise too much.
            expected[test] = ExpectedError.fit(X[train], errors[train]).predict(X[test])
        scores = errors / expected
        self._error = ExpectedError.fit(X, errors)
        self._widths = conformal_widths(scores, runs)
        covered = np.empty(len(y), bool)
        for train, test in folds:
            width = conformal_widths(scores[train], runs[train], [self.coverage])[0]
            covered[test] = scores[test] <= width
        self.card_: dict[str, Any] = {
            "n_networks": len(y),
            "n_runs": len(np.unique(runs)),
            "quality": {
                "protocol": f"{self.n_folds}-fold by run, all checkpoints",
                "r2": float(r2_score(y, predicted)),
                "kendall_tau": float(np.nan_to_num(kendalltau(y, predicted).statistic)),
                "mean_absolute_error": float(mean_absolute_error(y, predicted)),
                "coverage": float(covered.mean()),
                "stated_coverage": float(self.coverage),
            },
        }

    def predict(self, X: ArrayLike | Sequence[Any]) -> Floats:
        """Estimate accuracies.

        Parameters
        ----------
        X : array-like of shape (n_networks, n_features), or sequence of networks

        Returns
        -------
        ndarray of shape (n_networks,)
            Fractions in [0, 1]; for a diverged network the accuracy of an untrained one.
        """
        features, finite = self._checked(X)
        accuracies = np.full(len(features), self._untrained[0])
        if finite.any():
            accuracies[finite] = self._ensemble.predict(features[finite])
        return accuracies

    def predict_interval(
        self, X: ArrayLike | Sequence[Any], coverage: float | None = None
    ) -> Floats:
        """Give the interval of each estimate.

        Parameters
        ----------
        X : array-like of shape (n_networks, n_features), or sequence of networks
        coverage : float, optional
            Fraction in [0, 1]. Defaults to the predictor's own.

        Returns
        -------
        ndarray of shape (n_networks, 2)
            Low and high ends, fractions in [0, 1].
        """
        features, _ = self._checked(X)
        return self._intervals(features, self.predict(features), coverage)

    def _intervals(
        self, features: NDArray[np.float32], centres: Floats, coverage: float | None
    ) -> Floats:
        level = self.coverage if coverage is None else number_between("coverage", coverage, 0, 1)
        finite = finite_rows(features)
        intervals = np.tile(self._untrained[1:], (len(features), 1))
        if finite.any():
            half = width_at(self._widths, level) * self._error.predict(features[finite])
            ends = np.stack([centres[finite] - half, centres[finite] + half], axis=1)
            intervals[finite] = np.clip(ends, 0, 1)
        return intervals

    def family_p_values(self, X: ArrayLike | Sequence[Any]) -> Floats:
        """Tell how usual each network is among those fitted on.

        Parameters
        ----------
        X : array-like of shape (n_networks, n_features), or sequence of networks

        Returns
        -------
        ndarray of shape (n_networks,)
            In (0, 1]: the share of the zoo's networks that are at least as unusual. A diverged
            network gets the smallest value possible.
        """
        features, finite = self._checked(X)
        p_values = np.full(len(features), 1 / (len(self._family.distances) + 1))
        if finite.any():
            p_values[finite] = self._family.p_values(features[finite])
        return p_values

    def in_family(self, X: ArrayLike | Sequence[Any]) -> NDArray[np.bool_]:
        """Tell which networks look like those fitted on, as booleans of shape (n_networks,)."""
        return self.family_p_values(X) >= _FAMILY_LEVEL

    def estimate_features(self, X: ArrayLike | Sequence[Any]) -> list[Estimate]:
        """Estimate many networks, without warnings.

        Parameters
        ----------
        X : array-like of shape (n_networks, n_features), or sequence of networks
        """
        features, finite = self._checked(X)
        accuracies = self.predict(features)
        rows = zip(
            accuracies,
            self._intervals(features, accuracies, None),
            self.family_p_values(features),
            finite,
            strict=True,
        )
        return [
            Estimate(
                accuracy=float(accuracy),
                low=float(low),
                high=float(high),
                in_family=bool(p_value >= _FAMILY_LEVEL),
                coverage=float(self.coverage),
                family_p_value=float(p_value),
                condition="ok" if ok else "diverged",
            )
            for accuracy, (low, high), p_value, ok in rows
        ]

    def estimate(self, source: Any) -> Estimate:
        """Estimate the accuracy of one network.

        Parameters
        ----------
        source : model, state dict, mapping of arrays, or path
            Whatever `read_weights` takes.

        Returns
        -------
        Estimate

        Raises
        ------
        UnsupportedModelError, UnreadableFileError
            As `read_weights`.
        """
        (estimate,) = self.estimate_features(describe(read_weights(source)))
        if estimate.condition == "diverged":
            warnings.warn(
                "The network's weights hold NaN or infinite values: it has diverged, and gets the "
                "estimate of an untrained network.",
                AccuracyFromWeightsWarning,
                stacklevel=2,
            )
        elif not estimate.in_family:
            warnings.warn(
                "The network is unlike those that the predictor was fitted on (family p-value "
                f"{estimate.family_p_value:.2g}): take its estimate as a hint for ranking at most, "
                "or retrain the predictor on networks like it.",
                AccuracyFromWeightsWarning,
                stacklevel=2,
            )
        return estimate

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the predictor to one file, which appears whole or not at all.

        Raises
        ------
        AccuracyFromWeightsError
            When the file cannot be written.
        """
        check_is_fitted(self, "card_")
        arrays: dict[str, NDArray[Any]] = {"untrained": self._untrained, "widths": self._widths}
        for name, part in self._parts().items():
            arrays |= {f"{name}.{key}": np.asarray(value) for key, value in vars(part).items()}
        facts = {
            "parameters": self.get_params(),
            "feature_names": list(self.feature_names_),
            "n_features": self.n_features_in_,
            "card": self.card_,
            "made_with": {
                name: metadata.version(name)
                for name in ("accuracy-from-weights", "numpy", "scikit-learn")
            },
        }
        persistence.write(path, arrays, facts)

    def _parts(self) -> dict[str, Any]:
        return {**vars(self._ensemble), **vars(self._error), "family": self._family}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AccuracyPredictor:
        """Read a predictor that `save` wrote; no code of the file is run.

        Raises
        ------
        UnreadableFileError
            When the file is missing, damaged, no predictor, or of a later version.
        """
        arrays, facts = persistence.read(path)
        try:
            return cls._restored(arrays, facts)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UnreadableFileError(
                f"Expected a whole predictor file. Received: {os.fspath(path)}, whose contents do "
                "not fit together. Make it again with `accuracy-from-weights retrain`."
            ) from error

    @classmethod
    def _restored(cls, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> AccuracyPredictor:
        known = cls().get_params()
        predictor = cls(**{k: v for k, v in facts["parameters"].items() if k in known})
        number_between("coverage", predictor.coverage, 0.01, 0.999)

        def part(name: str) -> dict[str, NDArray[Any]]:
            prefix = f"{name}."
            return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

        predictor._ensemble = Ensemble(
            Forest(**part("boosted")), Forest(**part("randomised")), Perceptron(**part("smooth"))
        )
        predictor._error = ExpectedError(Forest(**part("logarithm")))
        predictor._family = FamilyCheck(**part("family"))
        predictor._untrained, predictor._widths = arrays["untrained"], arrays["widths"]
        predictor.n_features_in_ = int(facts["n_features"])
        predictor.feature_names_ = tuple(facts["feature_names"])
        predictor.card_ = dict(facts["card"], made_with=facts["made_with"])
        fits = (
            predictor._untrained.shape == (3,)
            and predictor._widths.shape == LEVELS.shape
            and len(predictor._family.centre) == predictor.n_features_in_
            and predictor._ensemble.n_features_needed <= predictor.n_features_in_
            and predictor._error.n_features_needed <= predictor.n_features_in_
            and len(predictor.feature_names_) in (0, predictor.n_features_in_)
            and set(predictor.feature_names_) <= set(FEATURE_NAMES)
        )
        if not fits:
            raise ValueError("parts of different predictors, or features this release lacks")
        return predictor

    def _checked(
        self, X: ArrayLike | Sequence[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Features as this predictor's columns, and which rows are free of NaN."""
        check_is_fitted(self, "card_")
        features = as_features(X)
        if self.feature_names_ and features.shape[1] == len(FEATURE_NAMES) != self.n_features_in_:
            # Fitted by an earlier release that described networks by fewer numbers.
            position = {name: k for k, name in enumerate(FEATURE_NAMES)}
            features = features[:, [position[name] for name in self.feature_names_]]
        if features.shape[1] != self.n_features_in_:
            raise InvalidArgumentError(
                f"Expected {self.n_features_in_} features a network. Received: an array of shape "
                f"{features.shape}."
            )
        return features, finite_rows(features)
