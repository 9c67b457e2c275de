"""Replay a search over recorded runs, driven by what different signals would have said.

    python benchmarks/early_stopping.py [zoo/table.npz] [--cache FOLDER] [--json FILE]

Predictors are fitted to some runs of a zoo's table; runs that none of them has seen are searched
again and again by successive halving and with a rule that ends hopeless runs, and within each run a
checkpoint is chosen. Prints Markdown.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from replay_study.checkpoints import differences_of, regrets_of
from replay_study.courses import Courses, courses_of, mean_of_last
from replay_study.search import (
    DIVERGED,
    Outcome,
    Signal,
    draws_of,
    end_the_hopeless,
    halve,
    mean_with_spread,
)
from replay_study.unseen import Said, Split, common_options, kinds_of, make_splits, said_of

from accuracy_from_weights.zoo.reading import read_zoo
from accuracy_from_weights.zoo.table import ZooTable

Floats = NDArray[np.float64]

RUNGS = {"paper": (1, 3, 6, 10), "wild": (0.03, 0.1, 0.25, 0.5)}
"""Epochs, and shares of the planned training, after which half of the runs end."""
FEWEST_RUNS = 40
"""Of fewer runs no 32 can be drawn that differ from draw to draw."""


def signals_of(courses: Courses, table: ZooTable, said: dict[str, Said]) -> dict[str, Signal]:
    """Lay out what each signal would have said of each run at each checkpoint."""
    found = {}
    for features, answers in said.items():
        for what, numbers in (("estimate", answers.now), ("forecast", answers.final)):
            value, high = (courses.values(numbers[:, k], DIVERGED) for k in (0, 2))
            found[f"{what}, {features}"] = Signal(value, high)
            if what == "estimate":
                smooth = mean_of_last(value), mean_of_last(high)
                found[f"mean of the last three estimates, {features}"] = Signal(*smooth)
    truth = courses.values(table.accuracy, DIVERGED)
    found["true validation accuracy"] = Signal.exact(truth)
    log = table.log_accuracy
    if np.isnan(log).all():
        log = table.train_accuracy
    log = courses.values(np.nan_to_num(log), DIVERGED)
    found["training accuracy, as logged"] = Signal.exact(log)
    chance = np.random.default_rng(0).random(truth.shape)
    found["chance"] = Signal.exact(np.where(truth == DIVERGED, DIVERGED, chance))
    return found


def groups_of(table: ZooTable, split: Split) -> dict[str, NDArray[np.bool_]]:
    """Pools to search among: the paper's runs on each data set, and wild ones gone astray."""
    inside = np.isin(np.arange(len(table)), split.test)
    kinds, recipe = kinds_of(table), table.hyperparameters
    found = {
        f"paper, {name}": inside & (kinds == "paper") & (table.datasets == name)
        for name in np.unique(table.datasets[inside & (kinds == "paper")])
    }
    if "regime" in recipe and split.name == "known":
        wild = inside & (kinds == "wild")
        noisy = np.nan_to_num(np.asarray(recipe["label_noise"], float)) > 0
        found["wild, overfitted"] = wild & (recipe["regime"] == "overfitted") & ~noisy
        found["wild, wrong labels"] = wild & noisy
    return {name: rows for name, rows in found.items() if rows.any()}


def measure(
    table: ZooTable, split: Split, said: dict[str, Said], n_draws: int
) -> dict[str, dict[str, Any]]:
    """Replay all searches within each group of a split."""
    found: dict[str, dict[str, Any]] = {}
    # Where even all that a predictor reads does not help, less of it will not.
    learned = {f: differences_of(table, split, f) for f in said if "log" in f}
    for name, rows in groups_of(table, split).items():
        courses = courses_of(table, rows)
        if len(courses) < FEWEST_RUNS:
            continue
        kind = name.partition(",")[0]
        done = courses.steps if kind == "paper" else courses.progress
        rungs = np.array([int(np.abs(done - rung).argmin()) for rung in RUNGS[kind]])
        truth = courses.accuracies(table.accuracy)
        draws = draws_of(len(courses), n_draws)
        search = truth[:, -1], courses.progress
        one: dict[str, Any] = {"runs": len(courses), "halving": {}, "hopeless": {}}
        for key, signal in signals_of(courses, table, said).items():
            one["halving"][key] = summary(halve(signal, *search, rungs, draws))
            one["hopeless"][key] = summary(
                end_the_hopeless(signal, *search, int(rungs[0]), draws[: len(draws) // 3])
            )
        regrets = regrets_of(courses, table, said, learned)
        one["checkpoint"] = {k: mean_with_spread(100 * v) for k, v in regrets.items()}
        found[name] = one
    return found


def summary(outcome: Outcome) -> dict[str, Any]:
    return {
        "saved": float(outcome.saved.mean()),
        "lost": mean_with_spread(outcome.lost),
    }


def markdown(split: str, found: dict[str, dict[str, Any]]) -> str:
    """Lay a split's measurements out as three tables, a column a group."""
    titles = {
        "halving": "Halving: points lost",
        "hopeless": "Hopeless runs ended: points lost (epochs saved)",
        "checkpoint": "Choosing a checkpoint: points below the run's best",
    }
    parts = []
    for part, title in titles.items():
        parts += [f"**{split}. {title}**", ""]
        heads = [f"{name} ({one['runs']} runs)" for name, one in found.items()]
        parts += ["| | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
        for key in next(iter(found.values()))[part]:
            cells = []
            for one in found.values():
                cell = one[part][key]
                mean, low, high = cell["lost"] if part != "checkpoint" else cell
                text = f"{mean:.2f} ({low:.2f} to {high:.2f})"
                cells.append(text + (f" ({cell['saved']:.0%})" if part == "hopeless" else ""))
            parts.append(f"| {key} | " + " | ".join(cells) + " |")
        if part == "halving":
            saved = ", ".join(
                f"{one[part]['chance']['saved']:.0%} ({name})" for name, one in found.items()
            )
            parts += ["", f"Epochs saved: {saved}."]
        parts.append("")
    return "\n".join(parts)


def main() -> None:
    parser = common_options(__doc__.partition("\n")[0])
    parser.add_argument(
        "--draws",
        type=int,
        default=300,
        help="searches by halving of 32 runs each; a third of them with the other rule",
    )
    arguments = parser.parse_args()
    table = read_zoo(arguments.table)
    splits = make_splits(table, arguments.per_dataset, arguments.wild, arguments.unseen)
    results = {}
    for split in splits:
        said = {f: said_of(table, split, f, arguments.cache) for f in arguments.features}
        results[split.name] = measure(table, split, said, arguments.draws)
        print(markdown(split.name, results[split.name]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
