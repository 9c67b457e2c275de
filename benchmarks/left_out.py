"""What predictors are worth on real data sets that they were not fitted to.

    python benchmarks/left_out.py TEST.npz ... [--table zoo/table.npz] [--json FILE]

Fits the models of the predictor to the zoo's generated tasks alone, to these and the zoo's real
data sets, and to the real data sets alone, each time without the data set that is tested. Scores
the last checkpoint of each run of tables that no fit has seen (``python -m benchmarks.unseen
describe`` and ``zoo describe`` make them). Scores are means over data sets, of point estimates.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.stats import kendalltau
from sklearn.metrics import r2_score

from accuracy_from_weights.errors import ZooError
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
from accuracy_from_weights.zoo.table import ZooTable

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SAME = {"cifar10": "cifar10_grey", "tinted_fashion": "fashion_mnist", "digits_table": "digits"}
"""Data sets that are another one under a second name."""
FITTED_TO = ("generated tasks", "generated tasks and other real data", "other real data")


def is_generated(datasets: NDArray[np.str_]) -> NDArray[np.bool_]:
    return np.char.startswith(datasets.astype(str), "universe-")


def fitted(table: ZooTable, features: str) -> Ensemble | None:
    """Fit the predictor's models to a table; None where it holds too little."""
    table = table.having(features)
    names = feature_names(features)
    rows = as_models_read(complete_log(table.inputs(features, logs="mixed"), names), names)
    known = finite_rows(rows)
    if len(np.unique(table.runs[known])) < 100:
        return None
    guess = first_guess(rows, names)
    every = FitRows.of(rows, table.accuracy, guess=guess, runs=table.runs, tasks=table.tasks)
    return Ensemble.fit(every.take(known), FitSettings(knows_sample=know_sample(names)))


def answers(
    table: ZooTable, tests: list[ZooTable], features: str, fitted_to: str, left_out: str | None
) -> list[dict[str, Any]]:
    """Fit once, and score the data sets that this fit may be tested on."""
    generated = is_generated(table.datasets)
    kept = generated if fitted_to == FITTED_TO[0] else ~generated | (fitted_to == FITTED_TO[1])
    kept &= table.datasets != left_out
    try:
        ensemble = fitted(table.subset(kept), features)
    except ZooError:  # the real data sets hold no answers on a training sample
        ensemble = None
    if ensemble is None:
        return []
    names = feature_names(features)
    real = set(table.datasets[~generated].tolist())
    found = []
    for number, test in enumerate(tests):
        try:
            rows = complete_log(test.inputs(features), names)
        except ZooError:
            continue
        last = last_rows(test.runs, test.steps) & finite_rows(rows)
        for dataset in np.unique(test.datasets):
            home = SAME.get(str(dataset), str(dataset))
            # Other fits leave this data set out.
            if fitted_to != FITTED_TO[0] and (home if home in real else None) != left_out:
                continue
            asked = last & (test.datasets == dataset)
            truth = test.accuracy[asked]
            said = ensemble.predict(rows[asked], first_guess(rows[asked], names))
            found.append(
                {
                    "table": number,
                    "dataset": str(dataset),
                    "features": features,
                    "fitted_to": fitted_to,
                    "networks": int(asked.sum()),
                    "error": float(100 * np.abs(said - truth).mean()),
                    "bias": float(100 * (said - truth).mean()),
                    "tau": float(np.nan_to_num(kendalltau(said, truth).statistic)),
                    "r2": float(r2_score(truth, said)),
                }
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tests", nargs="+", type=Path, metavar="TEST.npz")
    parser.add_argument("--table", type=Path, default=ROOT / "zoo" / "table.npz")
    parser.add_argument("--features", nargs="*", default=FEATURE_SETS, choices=FEATURE_SETS)
    parser.add_argument("--fitted-to", nargs="*", default=FITTED_TO, choices=FITTED_TO)
    parser.add_argument("--checkpoints", type=int, default=2, help="of each run, to fit to")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--json", type=Path, default=ROOT / "benchmarks" / "results" / "left_out.json"
    )
    options = parser.parse_args()
    table = ZooTable.load(options.table).thinned(options.checkpoints)
    tests = [ZooTable.load(file) for file in options.tests]
    real = np.unique(table.datasets[~is_generated(table.datasets)]).tolist()
    tested = {SAME.get(str(d), str(d)) for test in tests for d in test.datasets}
    calls = [
        delayed(answers)(table, tests, features, fitted_to, left_out)
        for features in options.features
        for fitted_to in options.fitted_to
        for left_out in (
            [None] if fitted_to == FITTED_TO[0] else [None, *sorted(tested & set(real))]
        )
    ]
    found: list[dict[str, Any]] = []
    for scores in Parallel(n_jobs=options.jobs, return_as="generator")(calls):
        found += scores
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    _print(found, [file.stem for file in options.tests])


def _print(found: list[dict[str, Any]], tables: list[str]) -> None:
    print("| features | fitted to | table | data sets | error | bias | τ | R² |")
    print("|---|---|---|---|---|---|---|---|")
    for key in dict.fromkeys((s["table"], s["features"], s["fitted_to"]) for s in found):
        part = [s for s in found if (s["table"], s["features"], s["fitted_to"]) == key]
        error, bias, tau, r2 = (
            np.mean([s[k] for s in part]) for k in ("error", "bias", "tau", "r2")
        )
        print(
            f"| {key[1]} | {key[2]} | {tables[key[0]]} | {len(part)} | {error:.1f} | {bias:.1f} | "
            f"{tau:.2f} | {r2:.2f} |"
        )


if __name__ == "__main__":
    main()
