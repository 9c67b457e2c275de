"""Learning curve of retraining: a correction of the predictor, a fit from scratch, and an anchor.

    python benchmarks/retraining.py ZOO [--base-zoo TABLE] [--sizes 3 10 30 100] [--json FILE]

For each data set of ZOO some runs are drawn to retrain on, and others to test on. The predictor to
start from is the one that ships, or with --base-zoo one that is fitted to the other data sets of a
table ("cifar10" leaves out "cifar10_grey", too), so that nothing was fitted to the tested one.
Prints Markdown: mean absolute errors in points, and how often 90% intervals hold, over all
checkpoints of the tested runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights import AccuracyPredictor, load_predictor
from accuracy_from_weights.predictor.fit_rows import FEWEST_RUNS, finite_rows
from accuracy_from_weights.zoo.reading import read_zoo
from accuracy_from_weights.zoo.table import ZooTable

WAYS = ("as it is", "anchor", "corrected", "from scratch")


def base_for(dataset: str, options: argparse.Namespace) -> AccuracyPredictor:
    """Return a predictor to start from that was fitted to no network of the data set."""
    if options.base_zoo is None:
        return load_predictor()
    kept = options.cache and options.cache / f"base-{dataset}-{options.base_rows}.predictor"
    if kept and kept.exists():
        return load_predictor(kept)
    table = read_zoo(options.base_zoo)
    others = np.flatnonzero([not str(name).startswith(dataset) for name in table.datasets])
    drawn = np.random.default_rng(0).permutation(others)[: options.base_rows]
    table = table.subset(np.sort(drawn))
    predictor = AccuracyPredictor(n_folds=3).fit(
        table.inputs(), table.accuracy, table.runs, tasks=table.tasks
    )
    if kept:
        predictor.save(kept)
    return predictor


def retrained(
    way: str, base: AccuracyPredictor, table: ZooTable, n_folds: int | None
) -> AccuracyPredictor | None:
    """Return the predictor that one way makes of some runs, None where they are too few."""
    X, y, runs = table.inputs(), table.accuracy, table.runs
    if way == "as it is":
        return base
    if way == "anchor":
        return base.anchor(X, y)
    if way == "corrected":
        return base.set_params(n_folds=n_folds).retrain(X, y, runs)
    if len(np.unique(runs[finite_rows(X)])) < FEWEST_RUNS:
        return None
    return AccuracyPredictor(n_folds=n_folds).fit(X, y, runs)


def score(predictor: AccuracyPredictor, table: ZooTable) -> dict[str, float]:
    """Return the error in points, the coverage of the intervals, and their width in points."""
    X, y = table.inputs(), table.accuracy
    low, high = predictor.predict_interval(X, 0.9).T
    return {
        "error": 100 * float(np.abs(predictor.predict(X) - y).mean()),
        "held": float(((low <= y) & (y <= high)).mean()),
        "width": 100 * float((high - low).mean()),
    }


def runs_of(table: ZooTable, names: NDArray[np.str_]) -> ZooTable:
    """Return all checkpoints of some runs."""
    return table.subset(np.isin(table.runs, names))


def measure(table: ZooTable, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one entry for each data set, draw, number of runs and way."""
    found = []
    for dataset in np.unique(table.datasets):
        part = table.subset(table.datasets == dataset)
        base = base_for(str(dataset), options)
        for draw in range(options.draws):
            order = np.random.default_rng(draw).permutation(np.unique(part.runs))
            tested, known = order[: options.test], order[options.test :]
            for size in (size for size in options.sizes if size <= len(known)):
                for way in WAYS:
                    predictor = retrained(way, base, runs_of(part, known[:size]), options.folds)
                    if predictor is None:
                        continue
                    entry = {"dataset": str(dataset), "draw": draw, "runs": size, "way": way}
                    found.append(entry | score(predictor, runs_of(part, tested)))
                    print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    return found


def as_markdown(found: list[dict[str, Any]]) -> str:
    """Return a table with a row for each data set and number of runs."""
    heads = ["as it is", "`anchor`", "`retrain`", "`--from-scratch`"]
    lines = ["| left out | runs | " + " | ".join(heads) + " |", "|---|---|" + "---|" * len(heads)]
    for dataset, size in dict.fromkeys((entry["dataset"], entry["runs"]) for entry in found):
        cells = []
        for way in WAYS:
            own = [
                entry
                for entry in found
                if (entry["dataset"], entry["runs"], entry["way"]) == (dataset, size, way)
            ]
            if not own:
                cells.append("")
                continue
            error, held = (np.mean([entry[key] for entry in own]) for key in ("error", "held"))
            cells.append(f"{error:.1f} / {held:.0%}")
        lines.append(f"| {dataset} | {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--base-zoo", type=Path, help="table of networks of other data sets")
    parser.add_argument("--base-rows", type=int, default=6000, help="checkpoints drawn from it")
    parser.add_argument("--cache", type=Path, help="folder to keep the bases in")
    parser.add_argument("--sizes", type=int, nargs="*", default=[3, 10, 30, 100])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--test", type=int, default=50, help="runs to test on")
    parser.add_argument("--folds", type=int, help="folds of each fit; default: the predictor's")
    parser.add_argument("--json", type=Path, help="write each number to this file")
    options = parser.parse_args()
    found = measure(read_zoo(options.zoo), options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(as_markdown(found))


if __name__ == "__main__":
    main()
