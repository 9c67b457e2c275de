"""What each family of weight statistics is worth: the error without it, on data sets left out.

``python benchmarks/ablation.py ZOO... --output FILE.json`` describes the networks of zoos that hold
raw weights (folders, or a table that ``zoo describe`` made, which is taken as it is). It fits
randomised trees (``--models predictor``: all of the predictor's models, at ten times the time) to
all data sets but one and scores them on that one, or to five sixths of the data sets where there
are more than 20; then again without each family of columns. Scores
are mean absolute errors in points of accuracy, averaged over data sets; a difference comes with its
standard error over runs. ``--before FOLDER`` describes the same networks with the package in
another folder too (``git worktree add FOLDER COMMIT``), and compares.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import GroupKFold

Floats = NDArray[np.float64]

FAMILIES = {
    "architecture": r"^architecture\.",
    "moments": r"^layers\.(mean|log_std|log_rms|skewness|log_kurtosis|mean_absolute)\.",
    "quantiles and extremes": r"^layers\.q\d+\.",
    "biases": r"^layers\.bias_",
    "biases over lengths": r"^layers\.threshold_",
    "spectra": r"^layers\.(log_top_share|log_spectral_norm|log_participation)\.",
    "cosines and coherence": r"^layers\.(cosine|log_\w+_coherence|excitation|smoothness)\.",
    "spread of neurons and inputs": r"^layers\.(neuron|input)_",
    "between layers": r"^between\.",
    "class vectors": r"^classes\.",
    "what comes out": r"^propagation\.\w+\.output\.",
    "what hidden neurons do": r"^propagation\.\w+\.hidden\.",
    "seen as tanh": r"^propagation\.tanh",
    "seen as a rectifier": r"^propagation\.relu",
    "spread over layers": r"^layers\..*\.std$",
    "first layer": r"^layers\..*\.first$",
    "last layer": r"^layers\..*\.last$",
    "mean over layers": r"^layers\..*\.mean$",
    "all of layers": r"^layers\.",
    "all that is sent through": r"^propagation\.",
}
"""Patterns of columns' names."""


def described(zoos: list[Path]) -> dict[str, NDArray[Any]]:
    """Describe the checkpoints of zoos, or read what a table holds of them."""
    from accuracy_from_weights.features.description import FEATURE_NAMES, describe
    from accuracy_from_weights.zoo.sources import open_source
    from accuracy_from_weights.zoo.table import ZooTable

    parts: list[dict[str, NDArray[Any]]] = []
    for zoo in zoos:
        if zoo.is_file():
            table = ZooTable.load(zoo)
            rows, truth, names = table.features, table.accuracy, table.datasets
            runs = table.runs
        else:
            source = open_source(zoo)
            rows = np.full((len(source.metrics), len(FEATURE_NAMES)), np.nan, np.float32)
            for piece in source.pieces:
                for places, stack in piece.stacks():
                    rows[places] = describe(stack)
            truth, runs = source.metrics.test_accuracy, source.metrics.runs
            names = np.full(len(rows), zoo.name)
        own = np.array([f"{zoo}:{run}" for run in runs])
        parts.append({"rows": rows, "truth": truth, "runs": own, "datasets": names})
    found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return found | {"names": np.array(FEATURE_NAMES)}


def described_before(folder: Path, zoos: list[Path]) -> dict[str, NDArray[Any]]:
    """Describe with the package in another folder, in a process of its own."""
    with tempfile.TemporaryDirectory() as made:
        file = Path(made, "rows.npz")
        command = [sys.executable, __file__, *map(str, zoos), "--rows", str(file)]
        environment = os.environ | {"PYTHONPATH": str(folder)}
        subprocess.run(command, env=environment, check=True)
        return dict(np.load(file))


def errors(rows: Floats, truth: Floats, parts: list[NDArray[np.intp]], models: str) -> Floats:
    """Absolute errors in points, each part predicted by models fitted to all others."""
    from accuracy_from_weights.predictor.fit_rows import FitRows, FitSettings
    from accuracy_from_weights.predictor.models.ensemble import Ensemble

    found = np.full(len(truth), np.nan)
    for part in parts:
        rest = np.setdiff1d(np.arange(len(truth)), part)
        if models == "trees":
            forest = ExtraTreesRegressor(
                100, max_features=0.3, min_samples_leaf=2, random_state=0
            ).fit(rows[rest], truth[rest])
            answers = forest.predict(rows[part])
        else:
            zeros = np.zeros(len(truth))
            every = FitRows.of(rows, truth, guess=zeros)
            ensemble = Ensemble.fit(every.take(rest), FitSettings())
            answers = ensemble.predict(rows[part], zeros[part])
        found[part] = 100 * np.abs(answers - truth[part])
    return found


def mean_of(values: Floats, parts: list[NDArray[np.intp]]) -> float:
    return float(np.mean([values[part].mean() for part in parts]))


def standard_error(
    values: Floats, parts: list[NDArray[np.intp]], runs: NDArray[Any], rng: np.random.Generator
) -> float:
    """Of `mean_of`, runs drawn anew in each part."""
    sums = []
    for part in parts:
        _, place = np.unique(runs[part], return_inverse=True)
        sums.append((np.bincount(place, values[part]), np.bincount(place)))
    drawn = []
    for _ in range(200):
        means = []
        for totals, counts in sums:
            some = rng.integers(len(totals), size=len(totals))
            means.append(totals[some].sum() / counts[some].sum())
        drawn.append(np.mean(means))
    return float(np.std(drawn))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoos", nargs="+", type=Path, metavar="ZOO")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="another checkout")
    parser.add_argument("--runs", type=int, default=100, help="at most, of each zoo and data set")
    parser.add_argument("--in-all", type=int, help="runs at most, of all data sets together")
    parser.add_argument("--models", choices=("trees", "predictor"), default="trees")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), metavar="NAME")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    zoo = described(options.zoos)
    if options.rows is not None:
        np.savez(options.rows, **zoo)
        return
    before = None if options.before is None else described_before(options.before, options.zoos)
    rng = np.random.default_rng(0)
    kept = np.isfinite(zoo["rows"]).all(axis=1) & np.isfinite(zoo["truth"])
    if before is not None:
        kept &= np.isfinite(before["rows"]).all(axis=1)
    groups = np.array(
        [
            f"{run.rpartition(':')[0]} {d}"
            for run, d in zip(zoo["runs"], zoo["datasets"], strict=True)
        ]
    )
    some: list[str] = []
    for group in np.unique(groups):
        runs = np.unique(zoo["runs"][groups == group])
        some += rng.choice(runs, min(options.runs, len(runs)), replace=False).tolist()
    if options.in_all is not None and options.in_all < len(some):
        some = rng.choice(some, options.in_all, replace=False).tolist()
    kept &= np.isin(zoo["runs"], some)
    rows, truth, runs = zoo["rows"][kept], zoo["truth"][kept], zoo["runs"][kept]
    # Data sets of one content under two names are left out together.
    families = np.array([str(name).removesuffix("_grey") for name in zoo["datasets"][kept]])
    names = np.unique(families)
    if len(names) > 20:
        parts = np.array_split(rng.permutation(names), 6)
        names = names[:0]
        datasets = [np.flatnonzero(np.isin(families, part)) for part in parts]
    else:
        datasets = [np.flatnonzero(families == name) for name in names]
    folds = [
        test for _, test in GroupKFold(4, shuffle=True, random_state=0).split(rows, truth, runs)
    ]
    result: dict[str, Any] = {
        "models": options.models,
        "networks": len(rows),
        "runs": len(set(runs)),
        "datasets": [str(name) for name in names] or len(set(families)),
    }
    base: Floats | None = None

    def score(name: str, columns: Floats, folded: bool = False) -> None:
        nonlocal base
        found = errors(columns, truth, datasets, options.models)
        base = found if base is None else base
        scores: dict[str, Any] = {
            "columns": columns.shape[1],
            "datasets_left_out": mean_of(found, datasets),
            "difference": mean_of(found - base, datasets),
            "standard_error": standard_error(found - base, datasets, runs, rng),
        }
        if folded:
            scores["runs_left_out"] = float(errors(columns, truth, folds, options.models).mean())
            scores["by_dataset"] = [float(found[part].mean()) for part in datasets]
        result[name] = scores
        print(name, json.dumps(scores), flush=True)
        if options.output is not None:
            options.output.write_text(json.dumps(result, indent=1) + "\n")

    score("all", rows, True)
    if before is not None:
        score("all, before", before["rows"][kept], True)
    for name in options.families:
        without = [not re.search(FAMILIES[name], column) for column in zoo["names"]]
        score(f"without {name}", rows[:, without])


if __name__ == "__main__":
    main()
