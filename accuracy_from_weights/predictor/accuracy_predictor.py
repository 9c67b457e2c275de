"""The predictor: a scikit-learn regressor from a network's description to its accuracy."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin

from accuracy_from_weights.errors import number_between, positive_int, warn
from accuracy_from_weights.features.describing import describe_network
from accuracy_from_weights.features.feature_sets import feature_names
from accuracy_from_weights.features.log_columns import complete_log, first_guess
from accuracy_from_weights.predictor.anchoring import Anchor, check_truths, numbers_of
from accuracy_from_weights.predictor.conditions import name_conditions
from accuracy_from_weights.predictor.correcting import correct_state
from accuracy_from_weights.predictor.estimate import FAMILY_LEVEL, Estimate, estimates_of
from accuracy_from_weights.predictor.fit_rows import (
    Features,
    FitRows,
    FitSettings,
    as_features,
    finite_rows,
    fitted_columns,
    graph_columns,
)
from accuracy_from_weights.predictor.fitted_estimator import FittedEstimator
from accuracy_from_weights.predictor.fitting import fit_state
from accuracy_from_weights.predictor.folds import Progress
from accuracy_from_weights.predictor.forecasting import checked_progress

if TYPE_CHECKING:
    from accuracy_from_weights.features.training_sample import TrainingSample

__all__ = ["AccuracyPredictor", "Estimate"]

Floats = NDArray[np.float64]


class AccuracyPredictor(RegressorMixin, FittedEstimator):
    """Predict a network's test accuracy from features of its weights.

    The mean of boosted trees, extremely randomised trees and a smooth function, with conformal
    intervals and a check whether the network is like those fitted on. A scikit-learn regressor: it
    can be cloned, searched over and cross-validated (split by run: ``GroupKFold``).

    Parameters
    ----------
    features : str, default="weights"
        What is read of a network, one of `feature_sets.FEATURE_SETS`: "weights" alone;
        "weights+probes", also its answers to fixed synthetic inputs, for which the model itself is
        needed; "weights+probes+log", also the accuracy and loss on its training data that a
        training loop reports; "weights+probes+log+sample", also its answers on a sample of its
        training data. With the log, what is learned is how far the accuracy lies from the training
        accuracy.
    coverage : float, default=0.9
        Share of unseen runs' networks that the interval is to hold, fraction in (0, 1).
    n_folds : int or None, default=None
        Folds, by run or task, that give the errors from which the intervals are made. None: 12 for
        fewer than 400 runs, 6 for fewer than 2,000, else 3.
    random_state : int, default=0
        Seed of the folds and the trees: equal seeds and data give equal predictors.
    n_jobs : int or None, default=None
        Processes that fit the folds, as in joblib.

    Attributes
    ----------
    feature_names_ : tuple of str
        Names of the columns, when they are those of `feature_sets.feature_names`.
    n_features_in_ : int
    anchor_ : Anchor
        The correction that `anchor` made; none at first.
    card_ : dict
        Facts about the fit that JSON can hold: numbers of runs and networks, and ``quality``, the
        scores on runs, or tasks, left out of the fit.
    state_ : FittedState
        All that was learned.
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
        *,
        tasks: ArrayLike | None = None,
        domains: ArrayLike | None = None,
        progress: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        input_shape: Sequence[int] | None = None,
        on_fold: Progress | None = None,
    ) -> AccuracyPredictor:
        """Fit to networks of known accuracy.

        Parameters
        ----------
        X : array-like of shape (n_networks, n_features), or sequence of networks
            Columns as in `feature_sets.feature_names` (a `ZooTable` gives them as
            ``table.inputs(features)``), or anything that `read_weights` takes: models, state
            dicts, paths. A row with a NaN stands for a diverged network, except in the log, where
            it stands for what was not reported. A run's rows stand in the order of its training.
        y : array-like of shape (n_networks,)
            Test accuracies, fractions in [0, 1].
        groups : array-like of shape (n_networks,), optional
            The training run of each network. Left out, each network is a run of its own.
        tasks : array-like of shape (n_networks,), optional
            The task (data set) that each network was trained for. With at least 8 tasks, the fit
            is for networks of new tasks: folds and intervals go by task, and a task counts by its
            runs, at most as much as 100 usual tasks. With fewer, or left out, they go by run.
        domains : array-like of shape (n_networks,) or (n_networks, k), optional
            Data set, kind of architecture, … of each network, as `ZooTable.domains`. Each is left
            out once to learn how wide an interval has to be outside the family.
        progress : array-like of shape (n_networks,), optional
            Share of its run's planned training that each network had behind it, fractions. Given,
            the predictor also learns to forecast what accuracy a run will end with.
        sample_weight : array-like of shape (n_networks,), optional
            How much each network counts in the fit, above 0. Defaults to the above where the fit
            goes by task, else to the same for every network.
        input_shape : sequence of int, optional
            Shape of one input of the networks in `X`, without the batch axis: for probes, where the
            models do not know it.
        on_fold : callable, optional
            Called with the fits done and the fits in all, before the first and after each.

        Raises
        ------
        ZooError
            When lengths differ, a value is no fraction, or there are fewer than 10 runs.
        """
        names = feature_names(self.features)
        columns = as_features(X, self.features, input_shape, "multiclass")
        names = names if columns.shape[1] == len(names) else ()
        columns = complete_log(columns, names)
        rows = FitRows.of(
            columns,
            y,
            guess=first_guess(columns, names),
            runs=groups,
            tasks=tasks,
            domains=domains,
            progress=progress,
            sample_weight=sample_weight,
        )
        self.state_ = fit_state(rows, names, self._settings(), on_fold)
        return self

    def retrain(
        self,
        X: ArrayLike | Sequence[Any],
        y: ArrayLike,
        groups: ArrayLike | None = None,
        *,
        progress: ArrayLike | None = None,
        input_shape: Sequence[int] | None = None,
        on_fold: Progress | None = None,
    ) -> AccuracyPredictor:
        """Return a predictor that corrects this one's estimates by finished runs of known accuracy.

        What is learned is how far the accuracies lie from this predictor's estimates, and no more
        of it than the runs bear out: few runs do no harm. From fewer than 10 runs only a correction
        of the level is learned, as by `anchor`.

        Parameters
        ----------
        X, y, groups, progress, input_shape, on_fold
            As in `fit`.

        Returns
        -------
        AccuracyPredictor
            It holds this one, whose file is not needed any more.

        Raises
        ------
        ZooError
            When lengths differ, a value is no fraction, or no network has finite weights.
        """
        columns = self._rows(X, input_shape, "multiclass")
        rows = FitRows.of(columns, y, guess=np.zeros(len(columns)), runs=groups, progress=progress)
        retrained = copy.copy(self)
        retrained.state_ = correct_state(self._fitted(), rows, self._settings(), on_fold)
        return retrained

    def _settings(self) -> FitSettings:
        number_between("coverage", self.coverage, 0.01, 0.999)
        if self.n_folds is not None:
            positive_int("n_folds", self.n_folds)
        return FitSettings(
            coverage=self.coverage,
            n_folds=self.n_folds,
            random_state=self.random_state,
            n_jobs=self.n_jobs,
        )

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
        return self._fitted().judged(self._rows(X, input_shape), self.coverage)[0]

    def predict_interval(
        self, X: ArrayLike | Sequence[Any], coverage: float | None = None
    ) -> Floats:
        """Return the interval of each estimate.

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
        level = self.coverage if coverage is None else number_between("coverage", coverage, 0, 1)
        return self._fitted().judged(self._rows(X), level)[1]

    def family_p_values(self, X: ArrayLike | Sequence[Any]) -> Floats:
        """Return how usual each network is among those fitted on.

        Parameters
        ----------
        X : array-like of shape (n_networks, n_features), or sequence of networks

        Returns
        -------
        ndarray of shape (n_networks,)
            In (0, 1]: the share of the zoo's networks that are at least as unusual. A diverged
            network gets the smallest value possible.
        """
        return self._fitted().p_values(self._rows(X))

    def in_family(self, X: ArrayLike | Sequence[Any]) -> NDArray[np.bool_]:
        """Return which networks look like those fitted on, as booleans of shape (n_networks,)."""
        return self.family_p_values(X) >= FAMILY_LEVEL

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
        state, columns = self._fitted(), self._rows(rows)
        done = checked_progress(
            horizon, progress, len(columns), can_forecast=state.forecaster is not None
        )
        accuracies, intervals, p_values = state.judged(columns, self.coverage, done)
        conditions = name_conditions(columns, state.names, graph_columns(rows, self.features))
        return estimates_of(
            accuracies, intervals, p_values=p_values, conditions=conditions, coverage=self.coverage
        )

    def estimate(
        self,
        source: Any,
        input_shape: Sequence[int] | None = None,
        log: Mapping[str, float] | None = None,
        *,
        sample: TrainingSample | tuple[Any, Any] | None = None,
        part: str | None = None,
        task: str | None = None,
        horizon: str = "now",
        progress: float | None = None,
    ) -> Estimate:
        """Estimate the accuracy of one network: `describe_network` followed by `judge`.

        Parameters
        ----------
        source, input_shape, log, sample, part, task
            As in `describe_network`; what this predictor does not read is ignored.
        horizon : {"now", "final"}, default="now"
            "final" forecasts the accuracy that the training run will end with.
        progress : float, optional
            For "final": epochs done divided by epochs planned, fraction.

        Returns
        -------
        Estimate

        Raises
        ------
        UnsupportedModelError, UnreadableFileError
            As `describe_network`.
        InvalidArgumentError
            When the log, the sample or progress is needed and missing, or the predictor cannot
            forecast.
        """
        about: dict[str, Any] = {"input_shape": input_shape, "log": log, "sample": sample}
        row = describe_network(source, self.features, part=part, task=task, **about)
        (estimate,) = self.judge(row, progress, horizon)
        if estimate.caution is not None:
            warn(estimate.caution)
        return estimate

    def anchor(
        self,
        networks: NDArray[Any] | Sequence[Any],
        accuracies: ArrayLike,
        input_shape: Sequence[int] | None = None,
    ) -> AccuracyPredictor:
        """Correct the level of the estimates by a few measured accuracies of the user's own task.

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
            An anchored copy; earlier truths are not counted again. Diverged networks teach nothing
            and are left out.

        Raises
        ------
        InvalidArgumentError
            When lengths differ or an accuracy is no fraction.
        """
        state, truths = self._fitted(), np.asarray(accuracies, float).ravel()
        if len(networks) and all(isinstance(network, Estimate) for network in networks):
            centres, half, usable = numbers_of(networks)
        else:
            rows = self._rows(networks, input_shape, "multiclass")
            usable = finite_rows(rows)
            centres, half, _ = state.unanchored(rows, self.coverage)
        check_truths(truths, len(centres))
        anchored = copy.copy(self)
        anchor = Anchor.fit(centres[usable], half[usable], truths[usable])
        anchored.state_ = replace(state, anchor=anchor)
        return anchored

    def _rows(
        self,
        X: ArrayLike | Sequence[Any],
        input_shape: Sequence[int] | None = None,
        task: str | None = None,
    ) -> Features:
        """Return rows of the columns that this predictor was fitted to."""
        state, names = self._fitted(), feature_names(self.features)
        rows = as_features(X, self.features, input_shape, task)
        return complete_log(fitted_columns(rows, names, state.names, state.n_features), state.names)
