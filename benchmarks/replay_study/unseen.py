"""What predictors say of runs that they were not fitted to."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.feature_sets import FEATURE_SETS
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor, Estimate
from accuracy_from_weights.predictor.folds import group_folds
from accuracy_from_weights.zoo.table import ZooTable
from accuracy_from_weights.zoo.trajectories import progress_of

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

N_FOLDS = 2
"""That calibrate the intervals: fewer than the package's default, for time."""


@dataclass(frozen=True)
class Split:
    """Runs to fit on and runs to replay; no run stands on both sides."""

    name: str
    train: Rows
    test: Rows


@dataclass(frozen=True)
class Said:
    """Estimates and forecasts, with the ends of their intervals; NaN for rows not asked about.

    Attributes
    ----------
    now, final : ndarray of shape (n_rows of the table, 3)
        Centre, low and high: fractions.
    """

    now: Floats
    final: Floats


def common_options(description: str) -> argparse.ArgumentParser:
    """Make a parser of what both benchmarks of this study are asked."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("table", nargs="?", type=Path, default=Path("zoo/table.npz"))
    parser.add_argument("--per-dataset", type=int, default=60, help="runs to fit on")
    parser.add_argument("--wild", type=int, default=100, help="wild runs to fit on")
    parser.add_argument(
        "--unseen", nargs="*", default=["cifar10_grey", "mnist"], help="data sets to leave out"
    )
    parser.add_argument("--features", nargs="*", default=FEATURE_SETS[:3], choices=FEATURE_SETS)
    parser.add_argument("--cache", type=Path, help="folder that keeps what predictors said")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    return parser


def kinds_of(table: ZooTable) -> NDArray[np.str_]:
    """Tell the paper's networks from wild ones: "paper" or "wild" for each row."""
    family = table.hyperparameters.get("family", np.full(len(table), "paper"))
    return np.where(np.asarray(family).astype(str) == "wild", "wild", "paper")


def make_splits(
    table: ZooTable, per_dataset: int, wild: int, unseen: Iterable[str], seed: int = 0
) -> list[Split]:
    """Split by run: half of the runs to fit on, the others to replay; and each data set left out.

    Parameters
    ----------
    per_dataset : int
        The most of the paper's runs of one data set to fit on, for time.
    wild : int
        The most wild runs to fit on.
    unseen : iterable of str
        Data sets to leave out in turn.
    """
    kinds = kinds_of(table)
    one, other = group_folds(table.runs, 2, seed)[0]
    fitted = thinned(table, one, kinds, per_dataset, wild, seed)
    splits = [Split("known", fitted, other)]
    for name in unseen:
        left_out = (table.datasets == name) & (kinds == "paper")
        if left_out.any():
            inside = np.flatnonzero(table.datasets != name)
            chosen = thinned(table, inside, kinds, per_dataset, wild, seed)
            splits.append(Split(f"unseen {name}", chosen, np.flatnonzero(left_out)))
    assert not any(set(table.runs[s.train]) & set(table.runs[s.test]) for s in splits)
    return splits


def thinned(
    table: ZooTable, rows: Rows, kinds: NDArray[np.str_], per_dataset: int, wild: int, seed: int
) -> Rows:
    """Keep so many runs of each data set's and of the wild ones, in the order of training."""
    generator = np.random.default_rng(seed)
    groups = np.where(kinds[rows] == "wild", "wild", np.asarray(table.datasets)[rows])
    kept = []
    for group in np.unique(groups):
        runs = generator.permutation(np.unique(table.runs[rows[groups == group]]))
        kept.append(runs[: wild if group == "wild" else per_dataset])
    rows = rows[np.isin(table.runs[rows], np.concatenate(kept))]
    return rows[np.lexsort((table.steps[rows], table.runs[rows]))]


def said_of(
    table: ZooTable, split: Split, features: str, cache: Path | None, jobs: int = 1
) -> Said:
    """Fit a predictor to the split's one side and ask it about the other.

    Parameters
    ----------
    cache : Path or None
        A folder of earlier answers, which are taken from there.
    """
    sizes = f"{len(split.train)}-{len(split.test)}-{N_FOLDS}"
    name = f"{table.fingerprint[:12]} {split.name} {features} {sizes}.npz".replace(" ", "-")
    if cache is not None and (cache / name).exists():
        with np.load(cache / name) as file:
            return Said(file["now"], file["final"])
    inputs, progress = table.inputs(features), progress_of(table)
    train, test = split.train, split.test
    predictor = AccuracyPredictor(features, n_folds=N_FOLDS, n_jobs=jobs)
    predictor.fit(inputs[train], table.accuracy[train], table.runs[train], progress=progress[train])
    now, final = np.full((2, len(table), 3), np.nan)
    now[test] = _numbers(predictor.judge(inputs[test]))
    final[test] = _numbers(predictor.judge(inputs[test], progress[test], "final"))
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(cache / name, now=now, final=final)
    return Said(now, final)


def _numbers(estimates: list[Estimate]) -> Floats:
    return np.array([(e.accuracy, e.low, e.high) for e in estimates])
