"""All parts of the study, one after another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.zoo.table import ZooTable

from . import scoring
from .columns import Column, Columns
from .splits import Split, final_mask, kinds_of, make_splits

Mask = NDArray[np.bool_]
Results = dict[str, Any]
Tell = Callable[[str], None]

PARTS = ("same", "dataset", "kind", "pool", "curve", "mixed", "intervals")
_WITH_INTERVALS = ("same", "pool", "dataset", "kind")
CONFIDENT = 0.95


@dataclass(frozen=True)
class Settings:
    """How much is fitted.

    Attributes
    ----------
    per_run, most_rows : int
        The most checkpoints of a run, and in all, that a predictor is fitted to.
    interval_rows, interval_folds : int
        The most checkpoints that a predictor with intervals is fitted to, and its folds.
    interval_features : tuple of str
        Features of which intervals are measured.
    parts : tuple of str
    """

    per_run: int = 3
    most_rows: int = 2_000
    interval_rows: int = 500
    interval_folds: int = 3
    interval_features: tuple[str, ...] = ("weights+probes",)
    parts: tuple[str, ...] = PARTS


def run_study(table: ZooTable, columns: Columns, settings: Settings, tell: Tell) -> Results:
    """Fit, ask and score.

    Parameters
    ----------
    table : ZooTable
    columns : Columns
    settings : Settings
    tell : callable
        Takes a line about what was done.

    Returns
    -------
    dict
        Numbers that JSON can hold; scores are lists of value, low and high end.
    """
    splits = make_splits(table, settings.per_run, settings.most_rows)
    kinds = kinds_of(table)
    results: Results = {
        "table": {
            "fingerprint": table.fingerprint,
            "checkpoints": len(table),
            "runs": {str(k): len(np.unique(table.runs[kinds == k])) for k in np.unique(kinds)},
            "datasets": [str(name) for name in np.unique(table.datasets)],
        },
        "settings": asdict(settings),
        "left_out": columns.left_out,
    }
    for key in ("scores", "anchored", "by_epoch", "within_recipe", "family_check", "coverage"):
        results[key] = []
    results["curve"] = []
    for part in settings.parts:
        if part == "intervals":
            _measure_intervals(table, columns, splits, settings, results, tell)
        elif part in ("curve", "mixed"):
            chosen = [split for split in splits if split.part == part]
            results["curve"] += _curve(table, columns, chosen, tell)
        else:
            said = _ask(table, columns, [s for s in splits if s.part == part], tell)
            if said.predicted:
                _score_part(part, table, said, results)
    return results


def _ask(table: ZooTable, columns: Columns, splits: list[Split], tell: Tell) -> scoring.Said:
    found: list[tuple[Split, Column]] = []
    for split in splits:
        start = time.monotonic()
        found += [(split, column) for column in columns.of(split)]
        tell(
            f"{split.part} {split.name} {split.fold}: {len(split.train)} checkpoints fitted on, "
            f"{len(split.test)} asked about, {time.monotonic() - start:.0f} s"
        )
    return scoring.Said.gather(table, found)


def _score_part(part: str, table: ZooTable, said: scoring.Said, results: Results) -> None:
    kinds, finals = kinds_of(table), final_mask(table)
    is_paper = kinds == "paper"
    scored = np.any([np.isfinite(values) for values in said.predicted.values()], axis=0)
    families = {"paper": is_paper, "wild": ~is_paper}
    for group, rows in _groups(part, table).items():
        chosen = rows & finals & scored
        results["scores"] += scoring.scores_of(table, said, chosen, part=part, group=group)
        if part in ("dataset", "kind"):
            names = kinds if part == "kind" else np.where(is_paper, "paper", "wild")
            tasks = np.char.add(np.char.add(table.datasets, " "), names)
            labels = {"part": part, "group": group}
            results["anchored"] += scoring.anchored_scores(table, said, chosen, tasks, **labels)
    for family, rows in families.items():
        chosen = rows & finals & scored
        if chosen.any():
            labels = {"part": part, "group": family}
            results["family_check"] += scoring.family_check(table, said, chosen, **labels)
    if part == "same":
        results["by_epoch"] = scoring.by_epoch(table, said, scored)
        results["within_recipe"] = scoring.within_recipe(table, said, scored)


def _groups(part: str, table: ZooTable) -> dict[str, Mask]:
    """Give the rows that are scored together, by name."""
    kinds = kinds_of(table)
    is_paper = kinds == "paper"
    if part == "kind":
        return {str(kind): kinds == kind for kind in np.unique(kinds[~is_paper])}
    if part == "pool":
        return {"paper": is_paper, "wild": ~is_paper, **_misleading(table)}
    names = [str(name) for name in np.unique(table.datasets)]
    groups = {name: (table.datasets == name) & is_paper for name in names}
    if part == "dataset":
        groups |= {f"{name}, wild": (table.datasets == name) & ~is_paper for name in names}
    return groups


def _misleading(table: ZooTable) -> dict[str, Mask]:
    """Networks whose training accuracy says little."""
    logged = np.nan_to_num(table.log_accuracy.astype(float))
    noise = table.hyperparameters.get("label_noise", np.zeros(len(table)))
    is_noisy = np.nan_to_num(np.asarray(noise, float)) > 0
    return {"confident": logged > CONFIDENT, "label noise": is_noisy}


def _curve(
    table: ZooTable, columns: Columns, splits: list[Split], tell: Tell
) -> list[dict[str, Any]]:
    """Score each number of runs fitted on; means over draws."""
    by_size: dict[int, dict[str, list[dict[str, Any]]]] = {}
    finals = final_mask(table)
    for split in splits:
        said = _ask(table, columns, [split], tell)
        rows = finals & np.isin(np.arange(len(table)), split.test)
        for entry in scoring.scores_of(table, said, rows, part=split.part):
            if entry["runs"] < rows.sum():  # of some networks only: not to be compared
                continue
            by_size.setdefault(int(split.name), {}).setdefault(entry["column"], []).append(entry)
    found = []
    for size, of_columns in sorted(by_size.items()):
        for name, entries in of_columns.items():
            averaged = {"part": entries[0]["part"], "size": size, "column": name}
            averaged["draws"] = len(entries)
            for measure in ("r2", "tau", "mean_absolute_error"):
                values = np.array([e[measure] for e in entries if measure in e], float)
                if values.size:
                    # From the lowest to the highest end of any draw: the spread over both.
                    ends = (values[:, 0].mean(), values[:, 1].min(), values[:, 2].max())
                    averaged[measure] = [round(float(v), 4) for v in ends]
            found.append(averaged)
    return found


def _measure_intervals(
    table: ZooTable,
    columns: Columns,
    splits: list[Split],
    settings: Settings,
    results: Results,
    tell: Tell,
) -> None:
    finals = final_mask(table)
    for features in settings.interval_features:
        if features not in columns.inputs:
            continue
        for part in (p for p in _WITH_INTERVALS if p in settings.parts):
            found = []
            for split in (s for s in splits if s.part == part and s.fold == 0):
                start = time.monotonic()
                rows, folds = settings.interval_rows, settings.interval_folds
                found.append((split, columns.with_intervals(split, features, rows, folds)))
                seconds = time.monotonic() - start
                tell(f"intervals {part} {split.name}, {features}: {seconds:.0f} s")
            if not found:
                continue
            said = scoring.Said.gather(table, found)
            for group, inside in _groups(part, table).items():
                chosen = inside & finals
                entries = scoring.scores_of(table, said, chosen, part=part, group=group)
                kept = ("part", "group", "column", "runs", "coverage", "width")
                for entry in entries:
                    kept_entry = {key: entry[key] for key in kept}
                    kept_entry["auroc"] = scoring.width_auroc(table, said, chosen, entry["column"])
                    results["coverage"].append(kept_entry)
