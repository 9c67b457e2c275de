"""Random searches on data that no zoo holds, halved by what different signals say of the runs.

`python -m benchmarks.unseen search` writes benchmarks/results/search.json, from which
`python docs/make_numbers.py` makes tables and numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
from accuracy_from_weights.zoo.table import ZooTable
from benchmarks.quality_study.pages import markdown_table, number
from benchmarks.replay_study.courses import courses_of
from benchmarks.replay_study.search import DIVERGED, Signal, draws_of, halve
from benchmarks.unseen.judging import EVALUATED, REPORTED, ask, choices
from benchmarks.unseen.report import choices_table
from benchmarks.unseen.training import VALIDATED

Floats = NDArray[np.float64]
Entry = dict[str, Any]
Asked = list[tuple[str, AccuracyPredictor, str]]

RUNGS = (1, 2, 3, 4)
"""Epochs after which the worse half of the runs ends."""
SEARCHED = 24
"""Runs of one search, drawn from those that were recorded."""
TRUTH, VALIDATION, CHANCE = "test accuracy itself", "validation accuracy", "chance"


def replay(table: ZooTable, asked: Asked, n_draws: int = 300) -> Entry:
    """Halve the runs of each data set by each signal.

    Parameters
    ----------
    table : ZooTable
        Runs of `runs.searches`, all epochs of each.
    asked : list of (title, predictor, form)
        As for `judging.choices`.
    n_draws : int
        Searches on each data set: other runs of those recorded, in another order.

    Returns
    -------
    dict
        "searches", for each data set what there was to find; "saved", the share of the epochs;
        "lost", for each signal the points between the best run's test accuracy and that of the run
        found: the mean over data sets, its 95% bootstrap interval over data sets and draws, and
        each data set's; and "choices", see `judging.choices`.
    """
    lost: dict[str, list[Floats]] = {}
    saved, searches = [], []
    columns = _columns(table, asked)
    for data in dict.fromkeys(table.datasets.tolist()):
        courses = courses_of(table, table.datasets == data)
        finals = courses.accuracies(table.accuracy)[:, -1]
        rungs = np.searchsorted(courses.steps, RUNGS)
        draws = draws_of(len(courses), n_draws)[:, :SEARCHED]
        for name, column in columns.items():
            signal = Signal.exact(courses.values(np.nan_to_num(column), DIVERGED))
            outcome = halve(signal, finals, courses.progress, rungs, draws)
            lost.setdefault(name, []).append(outcome.lost)
        saved.append(outcome.saved.mean())
        first = courses.rows[0, 0]
        about = {k: table.hyperparameters[k][first] for k in ("regime", "n_train", "label_noise")}
        searches.append(
            {
                "data": data,
                "runs": len(courses),
                "regime": str(about["regime"]),
                "examples": int(about["n_train"]),
                "noise": float(about["label_noise"]),
                "best": float(finals.max()),
                "median": float(np.median(finals)),
            }
        )
    return {
        "searches": searches,
        "searched": min(SEARCHED, *(one["runs"] for one in searches)),
        "saved": float(np.mean(saved)),
        "lost": {name: _spread(np.array(values)) for name, values in lost.items()},
        "choices": choices(table, asked),
    }


def _columns(table: ZooTable, asked: Asked) -> dict[str, Floats]:
    """Return for each signal what it says of each checkpoint."""
    found = {title: ask(predictor, table, form)[:, 0] for title, predictor, form in asked}
    return {
        **found,
        f"training accuracy, {REPORTED}": table.log_accuracy,
        f"training accuracy, {EVALUATED}": table.train_accuracy,
        VALIDATION: np.asarray(table.hyperparameters[VALIDATED], float),
        TRUTH: table.accuracy,
        CHANCE: np.random.default_rng(0).random(len(table)),
    }


def _spread(lost: Floats) -> Entry:
    """Return mean and interval of points lost, of shape (n_datasets, n_draws)."""
    n, n_draws = lost.shape
    rng = np.random.default_rng(0)
    means = []
    for _ in range(1_000):
        datasets = rng.integers(n, size=n)
        means.append(lost[datasets[:, None], rng.integers(n_draws, size=(n, n_draws))].mean())
    low, high = np.quantile(means, (0.025, 0.975))
    return {
        "mean": float(lost.mean()),
        "low": float(low),
        "high": float(high),
        "each": lost.mean(axis=1).tolist(),
    }


def blocks(results: Entry) -> dict[str, str]:
    """Return the tables by the names of their marks in the pages."""
    head = ["halved by", "all", *(one["data"] for one in results["searches"])]
    lines = [
        [
            f"`{name}`" if name.startswith("weights") else name,
            f"**{number(of['mean'], 2)}** ({number(of['low'], 2)} to {number(of['high'], 2)})",
            *(number(value, 1) for value in of["each"]),
        ]
        for name, of in results["lost"].items()
    ]
    about = [
        [
            one["data"],
            f"{one['examples']:,}",
            f"{one['noise']:.0%}",
            f"{one['best']:.1%}",
            f"{one['median']:.1%}",
        ]
        for one in results["searches"]
    ]
    return {
        "search lost": markdown_table(head, lines),
        "search data": markdown_table(
            ("", "examples trained on", "wrong labels", "best run", "median run"), about
        ),
        "search choices": choices_table(results["choices"]),
    }


def numbers(results: Entry) -> dict[str, str]:
    """Return single numbers for the text, by the names of their marks."""
    found = {"search saved": f"{results['saved']:.0%}"}
    for name, of in results["lost"].items():
        found[f"search lost of {name}"] = number(of["mean"], 1)
    return found
