"""How well a run's end is foretold from its weights, epoch by epoch.

    python benchmarks/forecast.py [zoo/table.npz] [--cache FOLDER] [--json FILE]

Predictors are fitted to some runs of a zoo's table and asked about others, once of the same data
sets and once of a data set that was left out. Beside them: the accuracy stays as it is now, and a
curve through the true accuracies so far, both of which need validation data. Prints Markdown.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from replay_study.courses import Courses, courses_of
from replay_study.curves import extrapolated
from replay_study.search import mean_with_spread
from replay_study.unseen import Said, Split, common_options, kinds_of, make_splits, said_of

from accuracy_from_weights.zoo.reading import read_zoo
from accuracy_from_weights.zoo.table import ZooTable

Floats = NDArray[np.float64]


def errors_of(courses: Courses, table: ZooTable, said: dict[str, Said]) -> dict[str, Floats]:
    """Absolute errors of each forecast, ndarrays of shape (n_runs, n_checkpoints - 1)."""
    truth = courses.accuracies(table.accuracy)
    ends, young = truth[:, -1:], slice(0, len(courses.progress) - 1)
    found = {}
    for features, answers in said.items():
        centre = courses.accuracies(answers.final[:, 0])[:, young]
        found[f"forecast, {features}"] = np.abs(centre - ends)
        now = courses.accuracies(answers.now[:, 0])[:, young]
        found[f"estimate stays, {features}"] = np.abs(now - ends)
    found["true accuracy stays"] = np.abs(truth[:, young] - ends)
    curve = [extrapolated(truth, courses.steps, k + 1) for k in range(len(courses.progress) - 1)]
    found["curve through true accuracies"] = np.abs(np.stack(curve, axis=1) - ends)
    return found


def coverage_of(courses: Courses, table: ZooTable, said: Said) -> Floats:
    """Share of ends within the forecast's interval, at each checkpoint but the last."""
    ends = courses.accuracies(table.accuracy)[:, -1:]
    low, high = (courses.values(said.final[:, k], np.nan)[:, :-1] for k in (1, 2))
    within = np.where(np.isnan(low), np.nan, (low <= ends) & (ends <= high))
    return np.nanmean(within, axis=0)


def measure(table: ZooTable, split: Split, said: dict[str, Said]) -> dict[str, Any]:
    """Errors in points at each epoch, with their spread over runs."""
    chosen = np.isin(np.arange(len(table)), split.test)
    found: dict[str, Any] = {"split": split.name}
    for kind in np.unique(kinds_of(table)[split.test]):
        courses = courses_of(table, chosen & (kinds_of(table) == kind))
        done = courses.steps if kind == "paper" else courses.progress
        errors = errors_of(courses, table, said)
        found[str(kind)] = {
            "runs": len(courses),
            "unit": "epoch" if kind == "paper" else "share of the plan",
            "done": [round(float(value), 2) for value in done[:-1]],
            "points": {
                name: [mean_with_spread(100 * column) for column in values.T]
                for name, values in errors.items()
            },
            "coverage": {
                name: coverage_of(courses, table, answers).round(3).tolist()
                for name, answers in said.items()
            },
        }
    return found


def markdown(found: dict[str, Any]) -> str:
    """Lay a split's measurements out as tables."""
    parts = []
    for kind in (kind for kind in ("paper", "wild") if kind in found):
        one = found[kind]
        parts += [f"**{found['split']}, {kind} networks**, {one['runs']} runs", ""]
        parts += ["| " + one["unit"] + " | " + " | ".join(f"{d:g}" for d in one["done"]) + " |"]
        parts += ["|---|" + "---|" * len(one["done"])]
        for name, cells in one["points"].items():
            text = " | ".join(f"{m:.1f} ({low:.1f} to {high:.1f})" for m, low, high in cells)
            parts.append(f"| {name} | {text} |")
        for name, shares in one["coverage"].items():
            text = " | ".join(f"{share:.0%}" for share in shares)
            parts.append(f"| ends within the 90% interval, {name} | {text} |")
        parts.append("")
    return "\n".join(parts)


def main() -> None:
    parser = common_options(__doc__.partition("\n")[0])
    arguments = parser.parse_args()
    table = read_zoo(arguments.table)
    splits = make_splits(table, arguments.per_dataset, arguments.wild, arguments.unseen)
    results = []
    for split in splits:
        said = {f: said_of(table, split, f, arguments.cache) for f in arguments.features}
        results.append(measure(table, split, said))
        print(markdown(results[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
