"""From a description of a network to its accuracy, an interval, and whether to believe either."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from accuracy_from_weights.errors import AccuracyFromWeightsWarning, number_between, positive_int
from accuracy_from_weights.features.describing import describe_network
from accuracy_from_weights.features.feature_sets import feature_names
from accuracy_from_weights.features.log_columns import complete_log, logged_accuracy
from accuracy_from_weights.predictor import saved_predictor
from accuracy_from_weights.predictor.anchoring import Anchor, check_truths, numbers_of
from accuracy_from_weights.predictor.conditions import name_conditions
from accuracy_from_weights.predictor.cross_fitting import CrossFit, fold_count
from accuracy_from_weights.predictor.estimate import Estimate, estimates_of
from accuracy_from_weights.predictor.family import FamilyCheck
from accuracy_from_weights.predictor.fit_rows import (
    as_features,
    check_zoo,
    finite_rows,
    fitted_columns,
)
from accuracy_from_weights.predictor.folds import last_of_each
from accuracy_from_weights.predictor.forecasting import (
    Forecaster,
    checked_progress,
    final_accuracies,
)
from accuracy_from_weights.predictor.intervals import conformal_widths, width_at
from accuracy_from_weights.predictor.models.ensemble import Ensemble
from accuracy_from_weights.predictor.outside_intervals import widening_outside

__all__ = ["AccuracyPredictor", "Estimate"]

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]

_FAMILY_LEVEL = 0.01
"""Below this p-value a network is called outside the family: so many of the zoo's own would be."""


class AccuracyPredictor(RegressorMixin, BaseEstimator):
    """Predict a network's test accuracy from features of its weights.

    The mean of boosted trees, extremely randomised trees and a smooth function, with conformal
    intervals and a check whether the network is like those fitted on. A scikit-learn regressor: it
    can be cloned, searched over and cross-validated (split by run: ``GroupKFold``).

    Parameters
    ----------
    features : {"weights", "weights+probes", "weights+probes+log"}, default="weights"
        What is read of a network: its weights alone; also its answers to fixed synthetic inputs,
        for which the model itself is needed; also the accuracy and loss on its training data that
        a training loop reports. With the log, what is learned is how far the accuracy lies from
        the training accuracy.
    coverage : float, default=0.9
        Share of unseen runs' networks that the interval is to hold, fraction in (0, 1).
    n_folds : int or None, default=None
        Folds, by run, that give the errors from which the intervals are made. None: 12 for fewer
        than 400 runs, 6 for fewer than 2,000, else 3.
    random_state : int, default=0
        Seed of the folds and the trees: equal seeds and data give equal predictors.
    n_jobs : int or None, default=None
        Processes that fit the folds, as in joblib.

    Attributes
    ----------
    feature_names_ : tuple of str
        Names of the columns, when they are those of `features.sets.feature_names`.
    n_features_in_ : int
    anchor_ : Anchor
        The correction that `anchor` made; none at first.
    card_ : dict
        Facts about the fit that JSON can hold: numbers of runs and networks, and ``quality``, the
        scores on runs left out of the fit.
    """

    def __init__(
        self,
        features: str = "weights",
        coverage: float = 0.9,
        n_folds: int | None = None,
        random_state: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.features = features
        self.coverage = coverage
        self.n_folds = n_folds
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(
        self,
        X: ArrayLike | Sequence[Any],
        y: ArrayLike,
        groups: ArrayLike | None = None,
        domains: ArrayLike | None = None,
        progress: ArrayLike | None = None,
        input_shape: Sequence[int] | None = None,
    ) -> AccuracyPredictor:
        """Fit to networks of known accuracy.

        Parameters
        ----------
        X : array-like of shape (n_networks, n_features), or sequence of networks
            Columns as in `features.sets.feature_names` (a `ZooTable` gives them as
            ``table.inputs(features)``), or anything that `read_weights` takes: models, state
            dicts, paths. A row with a NaN stands for a diverged network, except in the log, where
            it stands for what was not reported. A run's rows stand in the order of its training.
        y : array-like of shape (n_networks,)
            Test accuracies, fractions in [0, 1].
        groups : array-like of shape (n_networks,), optional
            The training run of each network. Left out, each network is a run of its own.
        domains : array-like of shape (n_networks,) or (n_networks, k), optional
            Data set, kind of architecture, … of each network, as `ZooTable.domains`. Each is left
            out once to learn how wide an interval has to be outside the family.
        progress : array-like of shape (n_networks,), optional
            Share of its run's planned training that each network had behind it, fractions. Given,
            the predictor also learns to forecast what accuracy a run will end with.
        input_shape : sequence of int, optional
            Shape of one input of the networks in `X`, without the batch axis: for probes, where the
            models do not know it.

        Raises
        ------
        ZooError
            When lengths differ, a value is no fraction, or there are fewer than 10 runs.
        """
        number_between("coverage", self.coverage, 0.01, 0.999)
        if self.n_folds is not None:
            positive_int("n_folds", self.n_folds)
        names = feature_names(self.features)
        rows = as_features(X, self.features, input_shape)
        truth = np.asarray(y, float).ravel()
        runs = np.arange(len(truth)) if groups is None else np.asarray(groups)
        self.n_features_in_ = rows.shape[1]
        self.feature_names_ = names if rows.shape[1] == len(names) else ()
        rows = complete_log(rows, self.feature_names_)
        check_zoo(rows, truth, runs)
        finite = finite_rows(rows)
        lowest = np.sort(truth)[: max(len(truth) // 10, 3)]
        self._untrained = np.quantile(truth[~finite] if (~finite).any() else lowest, (0.5, 0, 1))
        self.anchor_ = Anchor()
        kept = None if domains is None else np.asarray(domains)[finite]
        cross = self._fit_finite(rows[finite], truth[finite], runs[finite], kept)
        self._forecaster = None
        if progress is not None:
            finals = final_accuracies(truth, progress, runs)[finite]
            course = cross.predicted, np.asarray(progress, float)[finite], finals, runs[finite]
            how = self.coverage, min(len(cross.folds), 4), self.random_state, self.n_jobs
            self._forecaster, worth = Forecaster.fit(rows[finite], *course, *how)
            self.card_ |= {"forecast": worth} if worth else {}
        return self

    def _fit_finite(
        self, X: Rows, y: Floats, runs: NDArray[Any], domains: NDArray[Any] | None
    ) -> CrossFit:
        guess = self._guess(X)
        n_folds = fold_count(len(np.unique(runs))) if self.n_folds is None else self.n_folds
        how = self.random_state, self.n_jobs, self.coverage
        cross = CrossFit.of(X, y, runs, guess, n_folds, *how)
        self._error = cross.error
        self._widths = conformal_widths(cross.scores, runs)
        self._widening = 1.0
        if domains is not None:
            misses = np.abs(cross.predicted - y), cross.scores, cross.error.power
            given = guess, *misses, domains, _FAMILY_LEVEL, self.coverage, self.random_state
            self._widening = widening_outside(X, y, runs, *given)
        self._family = FamilyCheck.fit(X, runs, self.random_state)
        self._ensemble = Ensemble.fit(X, y, guess, self.random_state)
        is_last = last_of_each(runs)
        quality = cross.quality(y, runs, is_last, self.coverage, domains)
        sizes = {"n_networks": len(y), "n_runs": int(is_last.sum())}
        self.card_: dict[str, Any] = {**sizes, "quality": quality}
        return cross

    def _guess(self, X: Rows) -> Floats:
        """Give the accuracies that the ensemble corrects, shape (n_rows,)."""
        return logged_accuracy(X, self.feature_names_)

    def predict(
        self, X: ArrayLike | Sequence[Any], input_shape: Sequence[int] | None = None
    ) -> Floats:
        """Return the estimated accuracies of many networks.

        Parameters
        ----------
        X : array-like of shape (n_networks, n_features), or sequence of networks
        input_shape : sequence of int, optional
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_networks,)
            Fractions in [0, 1]; for a diverged network the accuracy of an untrained one.
        """
        return self._judged(*self._checked(X, input_shape))[0]

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
        return self._judged(*self._checked(X), coverage)[1]

    def _judged(
        self,
        rows: Rows,
        finite: NDArray[np.bool_],
        coverage: float | None = None,
        progress: Floats | None = None,
    ) -> tuple[Floats, Floats, Floats]:
        """Accuracies, intervals and p-values of rows."""
        level = self.coverage if coverage is None else number_between("coverage", coverage, 0, 1)
        centres, half, p_values = self._unanchored(rows, finite, level, progress)
        accuracies = np.where(finite, self.anchor_.centre(centres), self._untrained[0])
        ends = self.anchor_.ends(centres, half)
        return accuracies, np.where(finite[:, None], ends, self._untrained[1:]), p_values

    def _unanchored(
        self, rows: Rows, finite: NDArray[np.bool_], level: float, progress: Floats | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Centres, half-widths, p-values before the anchor's correction; 0 for diverged rows."""
        centres, half = np.zeros((2, len(rows)))
        p_values = self._p_values(rows, finite)
        if finite.any():
            known = rows[finite]
            centre = self._ensemble.predict(known, self._guess(known))
            width = width_at(self._widths, level) * self._error.predict(known)
            if progress is not None and self._forecaster is not None:
                now = centre, width, progress[finite]
                centre, width = self._forecaster.forecast(known, *now, level)
            widening = np.where(p_values[finite] < _FAMILY_LEVEL, self._widening, 1)
            centres[finite], half[finite] = centre, widening * width
        return centres, half, p_values

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
        return self._p_values(*self._checked(X))

    def _p_values(self, rows: Rows, finite: NDArray[np.bool_]) -> Floats:
        p_values = np.full(len(rows), 1 / (len(self._family.distances) + 1))
        p_values[finite] = self._family.p_values(rows[finite])
        return p_values

    def in_family(self, X: ArrayLike | Sequence[Any]) -> NDArray[np.bool_]:
        """Tell which networks look like those fitted on, as booleans of shape (n_networks,)."""
        return self.family_p_values(X) >= _FAMILY_LEVEL

    def judge(
        self,
        rows: ArrayLike,
        progress: ArrayLike | None = None,
        horizon: str = "now",
    ) -> list[Estimate]:
        """Return the estimates of networks that are described already, without warnings.

        Parameters
        ----------
        rows : array-like of shape (n_networks, n_features)
            As `describe_network` returns them, one below the other.
        progress, horizon
            As in `estimate`; `progress` may have the shape (n_networks,).

        Returns
        -------
        list of Estimate

        Raises
        ------
        InvalidArgumentError
            When the rows have other columns, or as `estimate`.
        """
        features, finite = self._checked(rows)
        done = checked_progress(horizon, progress, len(features), self._forecaster)
        judged = self._judged(features, finite, progress=done)
        conditions = name_conditions(features, self.feature_names_)
        return estimates_of(*judged, conditions, self.coverage, _FAMILY_LEVEL)

    def estimate(
        self,
        source: Any,
        input_shape: Sequence[int] | None = None,
        log: Mapping[str, float] | None = None,
        horizon: str = "now",
        progress: float | None = None,
        part: str | None = None,
    ) -> Estimate:
        """Estimate the accuracy of one network: `describe_network` followed by `judge`.

        Parameters
        ----------
        source : model, state dict, mapping of arrays, or path
            Whatever `read_weights` takes; with probes, a model that can be called.
        input_shape : sequence of int, optional
            Of one input, without the batch axis: for probes, where the model does not know it.
        log : mapping, optional
            What the training loop reported of its last epoch, and on how many samples it trains:
            ``{"accuracy": fraction, "loss": nats, "samples": number}``. Needed by a predictor that
            reads the log; otherwise not looked at.
        horizon : {"now", "final"}, default="now"
            "final" forecasts the accuracy that the training run will end with.
        progress : float, optional
            For "final": epochs done divided by epochs planned, fraction.
        part : str, optional
            Which network, where the source holds several: ``part="teacher"``. See `read_weights`.

        Returns
        -------
        Estimate

        Raises
        ------
        UnsupportedModelError, UnreadableFileError
            As `read_weights` and `probes.probe`.
        InvalidArgumentError
            When the log or progress is needed and missing, or the predictor cannot forecast.
        """
        row = describe_network(source, self.features, input_shape=input_shape, log=log, part=part)
        (estimate,) = self.judge(row, progress, horizon)
        if estimate.caution is not None:
            warnings.warn(estimate.caution, AccuracyFromWeightsWarning, stacklevel=2)
        return estimate

    def anchor(
        self,
        networks: NDArray[Any] | Sequence[Any],
        accuracies: ArrayLike,
        input_shape: Sequence[int] | None = None,
    ) -> AccuracyPredictor:
        """Correct the level of the estimates by a few known truths of the user's own task.

        The order of estimates holds on data sets that the predictor has not seen, their level does
        not. The correction is monotone, and shrunk so that few truths change little.

        Parameters
        ----------
        networks : array-like, sequence of networks, or sequence of Estimate
            Of known accuracy: rows, sources, or estimates that this predictor made *before* it
            was anchored.
        accuracies : array-like of shape (n_networks,)
            Their measured accuracies, fractions in [0, 1].
        input_shape : sequence of int, optional
            As in `fit`.

        Returns
        -------
        AccuracyPredictor
            An anchored copy; earlier truths are not counted again. Diverged networks say nothing
            and are left out.

        Raises
        ------
        InvalidArgumentError
            When lengths differ or an accuracy is no fraction.
        """
        check_is_fitted(self, "card_")
        truths = np.asarray(accuracies, float).ravel()
        if len(networks) and all(isinstance(network, Estimate) for network in networks):
            centres, half, usable = numbers_of(networks)
        else:
            rows, usable = self._checked(networks, input_shape)
            centres, half, _ = self._unanchored(rows, usable, self.coverage)
        check_truths(truths, len(centres))
        anchored = copy.copy(self)
        anchored.anchor_ = Anchor.fit(centres[usable], half[usable], truths[usable])
        return anchored

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the predictor to one file, which appears whole or not at all.

        Raises
        ------
        AccuracyFromWeightsError
            When the file cannot be written.
        """
        check_is_fitted(self, "card_")
        saved_predictor.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AccuracyPredictor:
        """Read a predictor that `save` wrote; no code of the file is run.

        Raises
        ------
        UnreadableFileError
            When the file is missing, damaged, no predictor, or of a later version.
        """
        predictor = cls()
        saved_predictor.restore(predictor, path)
        return predictor

    def _checked(
        self, X: ArrayLike | Sequence[Any], input_shape: Sequence[int] | None = None
    ) -> tuple[Rows, NDArray[np.bool_]]:
        """Return rows of this predictor's columns, and which of them are free of NaN."""
        check_is_fitted(self, "card_")
        rows = as_features(X, self.features, input_shape)
        names, fitted = feature_names(self.features), self.feature_names_
        rows = complete_log(fitted_columns(rows, names, fitted, self.n_features_in_), fitted)
        return rows, finite_rows(rows)
