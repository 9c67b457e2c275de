"""Learning curve in the number of tasks: fitted to generated tasks, tested on real data.

    python benchmarks/task_curve.py ZOO UNSEEN [--sizes 30 100 300 1000] [--json FILE]

Of the generated tasks in the table ZOO so many are drawn, and the models of the predictor are
fitted to the last checkpoints of their runs. They are scored on the last checkpoints of UNSEEN
(`python -m benchmarks.unseen describe`), real data of which nothing is fitted. Writes
benchmarks/results/task_curve.json, from which `python docs/make_numbers.py` makes a table and a
figure.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.evaluation import kendall_tau
from accuracy_from_weights.features.feature_sets import FEATURE_SETS, feature_names
from accuracy_from_weights.features.log_columns import complete_log, first_guess
from accuracy_from_weights.predictor.fit_rows import (
    FitRows,
    FitSettings,
    as_models_read,
    finite_rows,
    know_sample,
)
from accuracy_from_weights.predictor.folds import last_rows
from accuracy_from_weights.predictor.models.ensemble import Ensemble
from accuracy_from_weights.zoo.reading import read_zoo
from accuracy_from_weights.zoo.table import ZooTable

RESULTS = Path(__file__).parent / "results" / "task_curve.json"


def generated(table: ZooTable, features: str, per_run: int) -> ZooTable:
    """Return some checkpoints of each run on a generated task, with all that features read."""
    table = table.subset(np.char.startswith(table.datasets, "universe"))
    return table.having(features).thinned(per_run)


def rows_of(table: ZooTable, features: str, logs: str) -> FitRows:
    """Return a table as the models read it; rows with NaN are left out."""
    names = feature_names(features)
    X = complete_log(table.inputs(features, logs=logs), names)
    rows = FitRows.of(
        X, table.accuracy, guess=first_guess(X, names), runs=table.runs, tasks=table.tasks
    )
    rows = rows.take(finite_rows(X))
    return dataclasses.replace(rows, X=as_models_read(rows.X, names))


def scores_of(model: Ensemble, rows: FitRows, datasets: NDArray[np.str_]) -> dict[str, float]:
    """Return the mean absolute error in points and Kendall's tau: means over data sets."""
    said = model.predict(rows.X, rows.guess)
    errors, taus = [], []
    for name in np.unique(datasets):
        inside = datasets == name
        errors.append(100 * float(np.abs(said - rows.y)[inside].mean()))
        taus.append(kendall_tau(rows.y[inside], said[inside]))
    return {"error": round(float(np.mean(errors)), 3), "tau": round(float(np.nanmean(taus)), 4)}


def measure(zoo: ZooTable, unseen: ZooTable, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Return an entry for each feature set, number of tasks and draw."""
    found = []
    unseen = unseen.subset(np.flatnonzero(last_rows(unseen.runs, unseen.steps)))
    for features in asked.features:
        knows_sample = know_sample(feature_names(features))
        rows = rows_of(generated(zoo, features, asked.per_run), features, "mixed")
        tested = rows_of(unseen, features, "reported")
        tasks = np.unique(rows.tasks)
        for size in [*(size for size in asked.sizes if size < len(tasks)), len(tasks)]:
            draws = 1 if size == len(tasks) else max(1, min(asked.draws, 300 // size))
            for draw in range(draws):
                drawn = np.random.default_rng([size, draw]).permutation(tasks)[:size]
                part, begun = rows.take(np.isin(rows.tasks, drawn)), time.monotonic()
                model = Ensemble.fit(part, FitSettings(knows_sample=knows_sample))
                entry = {"features": features, "tasks": size, "draw": draw, "rows": len(part)}
                found.append(entry | scores_of(model, tested, unseen.datasets))
                spent = f"{time.monotonic() - begun:.0f} s"
                print(json.dumps(found[-1]), spent, file=sys.stderr, flush=True)
    return found


def averaged(found: list[dict[str, Any]], key: str) -> dict[str, dict[int, float]]:
    """Return the means over draws of a score, by feature set and number of tasks."""
    means: dict[str, dict[int, list[float]]] = {}
    for entry in found:
        of_size = means.setdefault(entry["features"], {}).setdefault(entry["tasks"], [])
        of_size.append(entry[key])
    return {
        features: {size: float(np.mean(values)) for size, values in sizes.items()}
        for features, sizes in means.items()
    }


def as_markdown(found: list[dict[str, Any]]) -> str:
    """Return a table of errors and tau, with a line for each feature set."""
    errors, taus = averaged(found, "error"), averaged(found, "tau")
    sizes = sorted({entry["tasks"] for entry in found})
    lines = [
        "| tasks | " + " | ".join(f"{size:,}" for size in sizes) + " |",
        "|---|" + "---|" * len(sizes),
    ]
    for features, of_size in errors.items():
        cells = [
            f"{of_size[size]:.1f} / {taus[features][size]:.2f}" if size in of_size else ""
            for size in sizes
        ]
        lines.append(f"| `{features}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def numbers(found: list[dict[str, Any]]) -> dict[str, str]:
    """Return the errors with the fewest and the most tasks, by the names of their marks."""
    named = {}
    for features, of_size in averaged(found, "error").items():
        for word, size in (("fewest", min(of_size)), ("most", max(of_size))):
            named[f"tasks {word} of {features}"] = f"{size:,}"
            named[f"tasks error with {word} of {features}"] = f"{of_size[size]:.1f}"
    return named


def draw(found: list[dict[str, Any]], folder: Path) -> None:
    """Draw the errors over the number of tasks."""
    from benchmarks.quality_study.columns import OURS
    from benchmarks.quality_study.picture import COLOURS, LABELS, new_figure

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = new_figure(3.2)
    for features, of_size in averaged(found, "error").items():
        colour, label = COLOURS[OURS[features]], LABELS[OURS[features]]
        axes.plot(list(of_size), list(of_size.values()), "o-", color=colour, label=label)
    sizes = sorted({entry["tasks"] for entry in found})
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45)
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set(xlabel="generated tasks fitted on", ylabel="mean absolute error, points")
    axes.legend(fontsize="small", frameon=False)
    figure.savefig(folder / "task_curve.png", dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("zoo", type=Path)
    add("unseen", type=Path)
    add("--features", nargs="*", choices=FEATURE_SETS, default=[FEATURE_SETS[1], FEATURE_SETS[3]])
    add("--sizes", type=int, nargs="*", default=[30, 100, 300, 1000])
    add("--draws", type=int, default=3, help="at most, of few tasks")
    add("--per-run", type=int, default=1, help="checkpoints of a run")
    add("--json", type=Path, default=RESULTS)
    asked = parser.parse_args()
    found = measure(read_zoo(asked.zoo), ZooTable.load(asked.unseen), asked)
    lines = ",\n".join(json.dumps(entry) for entry in found)
    asked.json.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(as_markdown(found))


if __name__ == "__main__":
    main()
