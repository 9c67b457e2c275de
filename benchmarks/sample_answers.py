"""What answers on a sample of training data add to the training log, on tasks never seen.

``python benchmarks/sample_answers.py universe.npz --real mnist.npz fashion.npz`` reads tables that
``zoo describe --sample DATA`` wrote. It fits trees to networks of the universe's tasks and prints
how far estimates of each run's last checkpoint are off, on tasks that were left out and on the real
data sets, which no fit sees.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor

from accuracy_from_weights.features.feature_sets import LOG_NAMES
from accuracy_from_weights.features.training_sample import SAMPLE_NAMES
from accuracy_from_weights.predictor.folds import last_rows
from accuracy_from_weights.zoo.table import ZooTable, concatenate

Floats = NDArray[np.float64]
FOLDS = 5
NAMES = (*(f"log.{name}" for name in LOG_NAMES), *(f"sample.{name}" for name in SAMPLE_NAMES))
OF_THE_TASK = ("is_", "log_examples", "largest_class", "nearest", "learner_accuracy")
OF_THE_TASK += ("learner_half", "learner_margin")
VIEWS = {
    "log": lambda name: name.startswith("log."),
    "log, and how hard the sample is": lambda name: (
        name.startswith("log.") or name.removeprefix("sample.").startswith(OF_THE_TASK)
    ),
    "log and answers, none on changed examples": lambda name: (
        name.startswith("log.") or "." not in name.removeprefix("sample.")
    ),
    "log and all answers": lambda name: True,
}


def columns_of(table: ZooTable) -> tuple[Floats, NDArray[np.bool_]]:
    """Return log and sample of each checkpoint, and which of them have both."""
    log = table.inputs("weights+probes+log")[:, -len(LOG_NAMES) :].astype(float)
    assert table.sample is not None, "describe the zoo with --sample"
    log[:, -1] = np.log10(np.maximum(log[:, -1], 1))
    known = np.isfinite(table.sample).all(axis=1) & np.isfinite(log).all(axis=1)
    return np.concatenate([log, table.sample], axis=1), known


def estimates_of(x: Floats, y: Floats, asked: Floats) -> Floats:
    """Fit trees of two kinds and return the mean of their estimates."""
    models: tuple[Any, ...] = (
        ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.4, random_state=0),
        HistGradientBoostingRegressor(
            max_iter=150, learning_rate=0.06, max_leaf_nodes=8, max_features=0.5, random_state=0
        ),
    )
    found: Floats = np.mean([model.fit(x, y).predict(asked) for model in models], axis=0)
    return found


def figures(estimates: Floats, truth: Floats, datasets: NDArray[np.str_]) -> str:
    """Return the number of networks, R2, the mean tau of the data sets, and the error in points."""
    if len(truth) < 3:
        return f"{len(truth):5d}  too few"
    left = ((estimates - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    each = [datasets == name for name in np.unique(datasets)]
    taus = [kendalltau(estimates[rows], truth[rows])[0] for rows in each if rows.sum() >= 5]
    tau = f"{np.nanmean(taus):.2f}" if taus else "-"
    error = 100 * np.abs(estimates - truth).mean()
    return f"{len(truth):5d}  {1 - left:5.2f} / {tau} / {error:4.1f}"


def parts_of(table: ZooTable, kept: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Mark the rows that figures are printed for: last checkpoints, of all and of hard runs."""
    recipe = table.hyperparameters
    parts = {"all": kept, "training accuracy > .95": kept & (table.log_accuracy > 0.95)}
    if "label_noise" in recipe:
        noise = np.asarray(recipe["label_noise"], float)
        parts["wrong labels"] = kept & (np.nan_to_num(noise) > 0)
    kinds = recipe.get("input_kind", np.full(len(table), ""))
    parts |= {str(kind): kept & (kinds == kind) for kind in np.unique(kinds) if kind}
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("universe", nargs="+", type=Path)
    parser.add_argument("--real", nargs="*", type=Path, default=[])
    asked = parser.parse_args()
    universe = concatenate([ZooTable.load(path) for path in asked.universe])
    real = concatenate([ZooTable.load(path) for path in asked.real]) if asked.real else None
    x, known = columns_of(universe)
    tasks = np.unique(universe.datasets)
    fold_of = dict(zip(np.random.default_rng(0).permutation(tasks), range(len(tasks)), strict=True))
    folds = np.array([fold_of[name] % FOLDS for name in universe.datasets])
    print(f"{len(tasks)} tasks, {known.sum()} checkpoints. Networks, R2 / tau / error in points")
    views: dict[str, Any] = {"training accuracy as it is": None, **VIEWS}
    for title, chosen in views.items():
        print(title)
        read = [k for k, name in enumerate(NAMES) if chosen is not None and chosen(name)]
        found = x[:, 0].copy()
        for fold in range(FOLDS) if read else ():
            out, fit = known & (folds == fold), known & (folds != fold)
            found[out] = estimates_of(x[fit][:, read], universe.accuracy[fit], x[out][:, read])
        shown = [("left out", universe, found, known)]
        if real is not None:
            asked_rows, known_real = columns_of(real)
            found = asked_rows[:, 0].copy()
            if read:
                found[known_real] = estimates_of(
                    x[known][:, read], universe.accuracy[known], asked_rows[known_real][:, read]
                )
            shown.append(("real", real, found, known_real))
        for where, table, estimates, usable in shown:
            for part, rows in parts_of(table, usable & last_rows(table.runs, table.steps)).items():
                text = figures(estimates[rows], table.accuracy[rows], table.datasets[rows])
                print(f"    {where}, {part:24s} {text}")


if __name__ == "__main__":
    main()
