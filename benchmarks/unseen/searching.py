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

SCHEDULES = {"hasty": (1, 2, 3, 4), "patient": (2, 4, 6, 8)}
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
        "searches", for each data set what there was to find; for each of `SCHEDULES` "saved", the
        share of the epochs, and "lost", for each signal the points between the best run's test
        accuracy and that of the run found: the mean over data sets, its 95% bootstrap interval over
        data sets and draws, and each data set's; and "choices", see `judging.choices`.
    """
    lost: dict[str, dict[str, list[Floats]]] = {name: {} for name in SCHEDULES}
    saved: dict[str, list[float]] = {name: [] for name in SCHEDULES}
    searches = []
    columns = _columns(table, asked)
    for data in dict.fromkeys(table.datasets.tolist()):
        courses = courses_of(table, table.datasets == data)
        finals = courses.accuracies(table.accuracy)[:, -1]
        draws = draws_of(len(courses), n_draws)[:, :SEARCHED]
        for schedule, epochs in SCHEDULES.items():
            rungs = np.searchsorted(courses.steps, epochs)
            for name, column in columns.items():
                signal = Signal.exact(courses.values(np.nan_to_num(column), DIVERGED))
                outcome = halve(signal, finals, courses.progress, rungs, draws)
                lost[schedule].setdefault(name, []).append(outcome.lost)
            saved[schedule].append(float(outcome.saved.mean()))
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
        "schedules": {
            schedule: {
                "saved": float(np.mean(saved[schedule])),
                "lost": {name: _spread(np.array(values)) for name, values in of.items()},
            }
            for schedule, of in lost.items()
        },
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
    schedules = results["schedules"]
    lines, each = [], []
    for name in schedules["hasty"]["lost"]:
        title = f"`{name}`" if name.startswith("weights") else name
        found = [of["lost"][name] for of in schedules.values()]
        means = [f"**{number(of['mean'], 1)}** ({_ends(of)})" for of in found]
        lines.append([title, *means])
        each.append([title, *(number(value, 1) for value in found[0]["each"])])
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
    heads = [f"{name}, {of['saved']:.0%} of epochs saved" for name, of in schedules.items()]
    datasets = [one["data"] for one in results["searches"]]
    return {
        "search lost": markdown_table(("halved by", *heads), lines),
        "search each": markdown_table(("halved by", *datasets), each),
        "search data": markdown_table(
            ("", "examples trained on", "wrong labels", "best run", "median run"), about
        ),
        "search choices": choices_table(results["choices"]),
    }


def _ends(of: Entry) -> str:
    return f"{number(of['low'], 1)} to {number(of['high'], 1)}"


def numbers(results: Entry) -> dict[str, str]:
    """Return single numbers for the text, by the names of their marks."""
    found = {}
    for schedule, of in results["schedules"].items():
        found[f"search saved, {schedule}"] = f"{of['saved']:.0%}"
        for name, lost in of["lost"].items():
            found[f"search lost, {schedule}, of {name}"] = number(lost["mean"], 1)
    for way, lost in results["choices"].items():
        for group, value in lost.items():
            found[f"search choice, {group}, by {way}"] = number(value, 1)
    return found
