"""Score a predictor and its baselines on runs that none of them has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.evaluation.baselines import BASELINES, Baseline, Inputs
from accuracy_from_weights.evaluation.scores import Score, Scores, score, tie_ceiling
from accuracy_from_weights.predictor.folds import Counter, Progress, group_folds, last_rows
from accuracy_from_weights.predictor.models.ensemble import threads_for

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
    from accuracy_from_weights.zoo.table import ZooTable

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Inspect = Callable[[str, Any, NDArray[Any], Rows], None]

OURS = "accuracy-from-weights"
_OURS_STEPS = 20
"""Steps of progress that a fit of ours counts as; the more rows, the longer it takes."""
# Kendall's tau of n rows costs n log n, and a bootstrap repeats it: about a second a predictor.
_BOOTSTRAP_ROWS = 2_000_000


@dataclass(frozen=True)
class Evaluation:
    """Scores of several predictors on one data set.

    Attributes
    ----------
    dataset : str
        Name of the data set that the networks were trained on.
    protocol : str
        How the scored runs were kept unseen, in words.
    nominal_coverage : float
        What the intervals of `OURS` promise, a fraction.
    tie_ceiling, final_tie_ceiling : float
        `scores.tie_ceiling` of all checkpoints and of each run's last one.
    all_checkpoints, final_checkpoints : tuple of Scores
        One entry a predictor, in one order.
    """

    dataset: str
    protocol: str
    nominal_coverage: float
    tie_ceiling: float
    final_tie_ceiling: float
    all_checkpoints: tuple[Scores, ...]
    final_checkpoints: tuple[Scores, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation as values that JSON can hold."""
        return {
            "dataset": self.dataset,
            "protocol": self.protocol,
            "nominal_coverage": self.nominal_coverage,
            "tie_ceiling": self.tie_ceiling,
            "final_tie_ceiling": self.final_tie_ceiling,
            "all_checkpoints": [scores.as_dict() for scores in self.all_checkpoints],
            "final_checkpoints": [scores.as_dict() for scores in self.final_checkpoints],
        }


def cross_validate(
    table: ZooTable,
    predictor: AccuracyPredictor,
    *,
    n_folds: int = 5,
    hold_out: str = "run",
    baselines: Sequence[Baseline] = BASELINES,
    random_state: int = 0,
    progress: Progress | None = None,
    inspect: Inspect | None = None,
) -> list[Evaluation]:
    """Fit clones of a predictor, and the baselines, on some runs and score them on others.

    Nothing is chosen on the tested runs: no stopping round, no setting, no calibration.

    Parameters
    ----------
    table : ZooTable
        Networks with known accuracy.
    predictor : AccuracyPredictor
        Cloned before each fit.
    n_folds : int
        Defaults to 5.
    hold_out : {"run", "task", "dataset"}, default "run"
        ``"run"``: folds of runs, each data set by itself. ``"task"``: folds of tasks, all together.
        ``"dataset"``: each data set is scored by predictors that were fitted on the others.
    baselines : sequence of Baseline
        Those for which the zoo lacks the inputs are left out.
    random_state : int
        Seed of the folds, the baselines and the bootstrap. Defaults to 0.
    progress : callable, optional
        Called with the steps done and the steps in all, before the first and after each. A
        baseline's fit is one step, one of the predictor's is several.
    inspect : callable, optional
        Called with the data set's name, each fitted clone, the features of all rows of the table,
        and the numbers of the rows that are scored with it.

    Returns
    -------
    list of Evaluation
        One a data set, in the order of their names; a single one for tasks.

    Raises
    ------
    ZooError
        When there are too few runs, tasks or data sets to hold out.
    """
    protocol, plan = _plan(table, hold_out, n_folds, random_state)
    seen = [
        (baseline, inputs)
        for baseline in baselines
        if (inputs := baseline.inputs(table)) is not None
    ]
    total = (len(seen) + _OURS_STEPS) * sum(map(len, plan.values()))
    report = Counter(total, progress)
    evaluations = []
    for name, splits in plan.items():
        look = None if inspect is None else partial(inspect, name)
        predictions = _predictions(table, predictor, splits, seen, random_state, report, look)
        evaluations.append(
            _evaluation(
                table,
                [test for _, test in splits],
                name,
                protocol,
                predictor.coverage,
                dict(predictions),
                random_state,
            )
        )
    return evaluations


def _plan(
    table: ZooTable, hold_out: str, n_folds: int, random_state: int
) -> tuple[str, dict[str, list[tuple[Rows, Rows]]]]:
    """Return the protocol in words, and the splits of each evaluation by its name."""
    datasets = np.asarray(table.datasets)
    usable = np.isfinite(table.accuracy)
    names = [str(name) for name in np.unique(datasets[usable])]
    if hold_out == "dataset":
        if len(names) < 2:
            raise ZooError(
                f"Holding out a data set needs at least two of them, and the zoo has {len(names)}. "
                "Add a zoo of another data set, or hold out runs."
            )
        return "all runs of a data set that no predictor was fitted on", {
            name: [
                (
                    np.flatnonzero(usable & (datasets != name)),
                    np.flatnonzero(usable & (datasets == name)),
                )
            ]
            for name in names
        }

    def folds(rows: Rows, groups: NDArray[Any]) -> list[tuple[Rows, Rows]]:
        found = group_folds(groups[rows], n_folds, random_state)
        return [(rows[train], rows[test]) for train, test in found]

    if hold_out == "task":
        return f"{n_folds}-fold by task", {"all tasks": folds(np.flatnonzero(usable), table.tasks)}
    return f"{n_folds}-fold by run, each data set by itself", {
        name: folds(np.flatnonzero(usable & (datasets == name)), table.runs) for name in names
    }


def score_predictor(
    table: ZooTable,
    predictor: AccuracyPredictor,
    *,
    random_state: int = 0,
    inspect: Inspect | None = None,
) -> list[Evaluation]:
    """Score a fitted predictor on networks that it has not seen.

    Parameters
    ----------
    table : ZooTable
    predictor : AccuracyPredictor
        Fitted; whether it has seen the networks is for the caller to know.
    random_state : int
        Seed of the bootstrap. Defaults to 0.
    inspect : callable, optional
        As in `cross_validate`, called once a data set.

    Returns
    -------
    list of Evaluation
        One a data set. Beside the predictor stands the logged training accuracy, taken as it is,
        where the zoo has it: nothing can be fitted here.
    """
    datasets = np.asarray(table.datasets)
    features = table.inputs(predictor.features)
    evaluations = []
    for name in np.unique(datasets[np.isfinite(table.accuracy)]):
        rows = np.flatnonzero(np.isfinite(table.accuracy) & (datasets == name))
        predictions: dict[str, tuple[Floats, Floats | None]] = {}
        logged = np.asarray(table.train_accuracy, dtype=np.float64)
        if np.isfinite(logged[rows]).all():
            predictions["training accuracy as logged"] = (logged, None)
        estimated = np.full(len(datasets), np.nan)
        bounds = np.full((len(datasets), 2), np.nan)
        estimated[rows] = predictor.predict(features[rows])
        bounds[rows] = predictor.predict_interval(features[rows])
        predictions[OURS] = (estimated, bounds)
        if inspect is not None:
            inspect(str(name), predictor, features, rows)
        evaluations.append(
            _evaluation(
                table,
                [rows],
                str(name),
                "a given predictor, all networks taken as unseen",
                predictor.coverage,
                predictions,
                random_state,
            )
        )
    return evaluations


def _predictions(
    table: ZooTable,
    predictor: AccuracyPredictor,
    splits: Sequence[tuple[Rows, Rows]],
    baselines: Sequence[tuple[Baseline, Inputs]],
    random_state: int,
    report: Counter,
    inspect: Callable[[Any, NDArray[Any], Rows], None] | None,
) -> Iterator[tuple[str, tuple[Floats, Floats | None]]]:
    """Yield each predictor's name, predictions for the tested rows (others NaN), and intervals."""
    truth = np.asarray(table.accuracy, dtype=np.float64)
    for baseline, inputs in baselines:
        predicted = np.full(truth.size, np.nan)
        for train, test in splits:
            model = baseline.regressor(inputs, random_state)
            with threads_for(len(train)):
                model.fit(inputs.values[train], truth[train])
                predicted[test] = np.clip(model.predict(inputs.values[test]), 0.0, 1.0)
            report.one_more()
        yield baseline.name, (predicted, None)
    predicted = np.full(truth.size, np.nan)
    bounds = np.full((truth.size, 2), np.nan)
    features, fitted = (table.inputs(predictor.features, logs=k) for k in ("reported", "mixed"))
    for train, test in splits:
        model = clone(predictor)
        before = report.done

        def on_fold(done: int, fits: int, before: int = before) -> None:
            report.up_to(before + _OURS_STEPS * done // fits)

        model.fit(
            fitted[train],
            truth[train],
            groups=table.runs[train],
            tasks=table.tasks[train],
            domains=table.domains[train],
            on_fold=on_fold,
        )
        predicted[test] = model.predict(features[test])
        bounds[test] = model.predict_interval(features[test])
        if inspect is not None:
            inspect(model, features, test)
        report.up_to(before + _OURS_STEPS)
    yield OURS, (predicted, bounds)


def _evaluation(
    table: ZooTable,
    folds: Sequence[Rows],
    dataset: str,
    protocol: str,
    coverage: float,
    predictions: dict[str, tuple[Floats, Floats | None]],
    random_state: int,
) -> Evaluation:
    truth = np.asarray(table.accuracy, dtype=np.float64)
    rows = np.sort(np.concatenate(folds))
    finals = rows[last_rows(table.runs[rows], table.steps[rows])]

    def score_on(part: Rows, name: str, predicted: Floats, bounds: Floats | None) -> Scores:
        scores = score(
            name,
            truth[part],
            predicted[part],
            table.runs[part],
            None if bounds is None else bounds[part],
            n_resamples=int(np.clip(_BOOTSTRAP_ROWS // len(part), 20, 200)),
            random_state=random_state,
        )
        if all(np.ptp(predicted[np.intersect1d(fold, part)]) == 0 for fold in folds):
            # One constant a fold ranks nothing; only the folds' means differ.
            return replace(scores, tau=Score(np.nan), tau_over_ceiling=Score(np.nan))
        return scores

    scored = [
        tuple(score_on(part, name, *found) for name, found in predictions.items())
        for part in (rows, finals)
    ]
    return Evaluation(
        dataset,
        protocol,
        coverage,
        tie_ceiling(truth[rows]),
        tie_ceiling(truth[finals]),
        *scored,
    )
