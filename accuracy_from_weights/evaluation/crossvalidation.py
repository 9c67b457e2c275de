"""Score a predictor and its baselines on runs that none of them has seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.evaluation.baselines import BASELINES, Baseline
from accuracy_from_weights.evaluation.scores import Score, Scores, score, tie_ceiling
from accuracy_from_weights.predictor.folds import Counter, Progress, group_folds, last_rows
from accuracy_from_weights.predictor.models.ensemble import threads_for

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
    from accuracy_from_weights.zoo.table import ZooTable

Floats = NDArray[np.floating[Any]]
Rows = NDArray[np.intp]
Split = tuple[Rows, Rows]
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
        """Return the evaluation as values that JSON can hold: NaN becomes None."""
        found = json.loads(json.dumps(asdict(self)), parse_constant=lambda _: None)
        return dict(found)


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
    seen = [(one, inputs) for one in baselines if (inputs := one.inputs(table)) is not None]
    report = Counter((len(seen) + _OURS_STEPS) * sum(map(len, plan.values())), progress)
    scoring = _Scoring(table, predictor, protocol, random_state, inspect)
    evaluations = []
    for name, splits in plan.items():
        others = {}
        for baseline, inputs in seen:
            predicted = np.full(len(table), np.nan)
            for train, test in splits:
                model = baseline.regressor(inputs, random_state)
                with threads_for(len(train)):
                    model.fit(inputs.values[train], table.accuracy[train])
                    predicted[test] = np.clip(model.predict(inputs.values[test]), 0.0, 1.0)
                report.one_more()
            others[baseline.name] = predicted
        fitted = _fitted_clones(table, predictor, splits, report)
        evaluations.append(scoring.evaluate(name, others, fitted))
    return evaluations


def _plan(
    table: ZooTable, hold_out: str, n_folds: int, random_state: int
) -> tuple[str, dict[str, list[Split]]]:
    """Return the protocol in words, and the splits of each evaluation by its name."""
    rows_of = _rows_by_dataset(table)
    usable = np.flatnonzero(np.isfinite(table.accuracy))
    if hold_out == "dataset":
        if len(rows_of) < 2:
            raise ZooError(
                "Holding out a data set needs at least two of them, and the zoo has "
                f"{len(rows_of)}. Add a zoo of another data set, or hold out runs."
            )
        return "all runs of a data set that no predictor was fitted on", {
            name: [(np.setdiff1d(usable, rows), rows)] for name, rows in rows_of.items()
        }

    def folds(rows: Rows, groups: NDArray[Any]) -> list[Split]:
        found = group_folds(groups[rows], n_folds, random_state)
        return [(rows[train], rows[test]) for train, test in found]

    if hold_out == "task":
        return f"{n_folds}-fold by task", {"all tasks": folds(usable, table.tasks)}
    return f"{n_folds}-fold by run, each data set by itself", {
        name: folds(rows, table.runs) for name, rows in rows_of.items()
    }


def _rows_by_dataset(table: ZooTable) -> dict[str, Rows]:
    """Return the rows of known accuracy of each data set, by its name."""
    known = np.isfinite(table.accuracy)
    return {
        str(name): np.flatnonzero(known & (table.datasets == name))
        for name in np.unique(table.datasets[known])
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
    protocol = "a given predictor, all networks taken as unseen"
    scoring = _Scoring(table, predictor, protocol, random_state, inspect)
    evaluations = []
    for name, rows in _rows_by_dataset(table).items():
        others = {}
        if np.isfinite(table.train_accuracy[rows]).all():
            others["training accuracy as logged"] = table.train_accuracy
        evaluations.append(scoring.evaluate(name, others, [(predictor, rows)]))
    return evaluations


def _fitted_clones(
    table: ZooTable, predictor: AccuracyPredictor, splits: Sequence[Split], report: Counter
) -> Iterator[tuple[AccuracyPredictor, Rows]]:
    """Yield a predictor fitted to one side of each split, and the rows of the other."""
    inputs = table.inputs(predictor.features, logs="mixed")
    for train, test in splits:
        model = clone(predictor)
        before = report.done

        def on_fold(done: int, fits: int, before: int = before) -> None:
            report.up_to(before + _OURS_STEPS * done // fits)

        model.fit(
            inputs[train],
            table.accuracy[train],
            groups=table.runs[train],
            tasks=table.tasks[train],
            domains=table.domains[train],
            on_fold=on_fold,
        )
        yield model, test
        report.up_to(before + _OURS_STEPS)


@dataclass(frozen=True)
class _Scoring:
    """How a predictor and its baselines are scored; see `cross_validate`."""

    table: ZooTable
    predictor: AccuracyPredictor
    protocol: str
    random_state: int
    inspect: Inspect | None

    def evaluate(
        self,
        dataset: str,
        others: dict[str, Floats],
        fitted: Iterable[tuple[AccuracyPredictor, Rows]],
    ) -> Evaluation:
        """Ask each fitted predictor about rows of its own, and score all of them.

        `others` are the baselines' predictions for all rows of the table, by their names.
        """
        truth, runs = self.table.accuracy, self.table.runs
        features = self.table.inputs(self.predictor.features)
        estimated, intervals = np.full(len(truth), np.nan), np.full((len(truth), 2), np.nan)
        folds = []
        for model, asked in fitted:
            estimated[asked] = model.predict(features[asked])
            intervals[asked] = model.predict_interval(features[asked])
            if self.inspect is not None:
                self.inspect(dataset, model, features, asked)
            folds.append(asked)
        rows = np.sort(np.concatenate(folds))
        finals = rows[last_rows(runs[rows], self.table.steps[rows])]

        predictions = {**others, OURS: estimated}

        def score_on(part: Rows, name: str) -> Scores:
            predicted = predictions[name]
            scores = score(
                name,
                truth[part],
                predicted[part],
                runs[part],
                intervals[part] if name == OURS else None,
                n_resamples=int(np.clip(_BOOTSTRAP_ROWS // len(part), 20, 200)),
                random_state=self.random_state,
            )
            if all(np.ptp(predicted[np.intersect1d(fold, part)]) == 0 for fold in folds):
                # One constant a fold ranks nothing; only the folds' means differ.
                return replace(scores, tau=Score(np.nan), tau_over_ceiling=Score(np.nan))
            return scores

        scored = [tuple(score_on(part, name) for name in predictions) for part in (rows, finals)]
        return Evaluation(
            dataset,
            self.protocol,
            self.predictor.coverage,
            tie_ceiling(truth[rows]),
            tie_ceiling(truth[finals]),
            *scored,
        )
