"""Train networks on data that no zoo holds, describe them, and judge predictors on them.

    python -m benchmarks.unseen train FOLDER --images FOLDER
    python -m benchmarks.unseen describe FOLDER TABLE.npz --images FOLDER
    python -m benchmarks.unseen judge TABLE.npz ... [--predictor FILE ...]
    python -m benchmarks.unseen search TABLE.npz [--predictor FILE ...]
    python -m benchmarks.unseen fits ZOO.npz TABLE.npz

``train`` goes on where it was stopped. Data whose package or file is missing is left out and named.
``judge`` scores predictors, ``search`` replays the searches that ``train --searches`` recorded, and
``fits`` fits to other columns and other networks. They write benchmarks/results/unseen.json,
search.json and fits.json, from which `python docs/make_numbers.py` makes the tables, numbers and
figures of the documentation.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from accuracy_from_weights import load_predictor
from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
from accuracy_from_weights.predictor.pretrained import shipped_feature_sets
from accuracy_from_weights.zoo.reading import read_zoo
from accuracy_from_weights.zoo.table import ZooTable
from benchmarks.unseen import judging, report
from benchmarks.unseen.describing import WATCHED, describe
from benchmarks.unseen.fits import fits
from benchmarks.unseen.not_classifiers import answers
from benchmarks.unseen.runs import Run, plan, searches
from benchmarks.unseen.searching import replay

os.environ.setdefault("KERAS_BACKEND", "torch")
RESULTS = Path(__file__).parents[1] / "results"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _runs(asked: argparse.Namespace) -> list[Run]:
    return searches() if asked.searches else plan()


def train_all(asked: argparse.Namespace) -> None:
    from benchmarks.unseen.training import train

    asked.folder.mkdir(parents=True, exist_ok=True)
    missing: dict[str, str] = {}
    for run in _runs(asked):
        path = asked.folder / f"{run.name}.npz"
        if path.exists() or run.data in missing:
            continue
        begun = time.process_time()
        try:
            train(run, asked.images, path)
        except LookupError as error:
            missing[run.data] = str(error)
            _tell(f"{run.data} is left out: {error}")
            continue
        _tell(f"{run.name}: {time.process_time() - begun:.1f} s of processor time")


def describe_all(asked: argparse.Namespace) -> None:
    table = describe(_runs(asked), asked.folder, asked.images, _tell)
    table.save(asked.table)
    _tell(f"{len(table)} checkpoints in {asked.table}")


def _predictors(files: Sequence[Path] = ()) -> dict[str, AccuracyPredictor]:
    if files:
        return {path.stem: load_predictor(path) for path in files}
    return {features: load_predictor(features=features) for features in shipped_feature_sets()}


def judge_all(asked: argparse.Namespace) -> None:
    predictors = _predictors(asked.predictor)
    parts = []
    for path in asked.tables:
        table = ZooTable.load(path)
        known = judging.known_to(predictors, table.datasets)
        for data, rows in (("new", ~known), ("known", known)):
            if rows.any():
                part = _judged(f"{path.stem} {data}", table.subset(rows), predictors)
                parts.append({"table": path.stem, "data": data, **part})
    without_log = {
        name: predictor for name, predictor in predictors.items() if "log" not in predictor.features
    }
    results = {"parts": parts, "not_classifiers": answers(without_log) if without_log else []}
    _write(asked.json, results)


def search_all(asked: argparse.Namespace) -> None:
    _write(asked.json, replay(ZooTable.load(asked.table), _forms(_predictors(asked.predictor))))


def fit_all(asked: argparse.Namespace) -> None:
    _write(asked.json, fits(read_zoo(asked.zoo), ZooTable.load(asked.table), _predictors(), _tell))


def _write(path: Path, results: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_plain(results), indent=1) + "\n", encoding="utf-8")


def _forms(predictors: dict[str, AccuracyPredictor]) -> list[tuple[str, AccuracyPredictor, str]]:
    """Return titles, predictors and forms of the log: both forms where it is read, else none."""
    return [
        (report.title_of({"predictor": name, "log": form}), predictor, form)
        for name, predictor in predictors.items()
        for form in (report.TRAINING if "log" in predictor.features else ("",))
    ]


def _judged(name: str, table: ZooTable, predictors: dict[str, AccuracyPredictor]) -> dict[str, Any]:
    """Return all that is measured of predictors on the networks of a table."""
    verdicts, asked = [], []
    for title, predictor, form in _forms(predictors):
        try:
            groups = judging.judge(predictor, table, form)
        except ZooError as error:
            _tell(f"{title} on {name}: {error}")
            continue
        found = {v.group: dataclasses.asdict(v) for v in groups}
        who = title.removesuffix(f", {form}")
        verdicts.append({"predictor": who, "log": form, "groups": found})
        asked.append((title, predictor, form))
        mean = found[judging.MEAN]
        _tell(f"{title} on {name}: {mean['error']:.1f} points, {mean['holds']:.0%}")
    return {
        "datasets": list(dict.fromkeys(table.datasets.tolist())),
        "networks": len(np.unique(table.runs)),
        "verdicts": verdicts,
        "choices": judging.choices(table, asked),
        "ranks": judging.ranks(table, WATCHED),
    }


def _plain(value: Any) -> Any:
    """Return what JSON can hold: four digits, and None for NaN."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.unseen", description=(__doc__ or "").partition("\n")[0]
    )
    commands = parser.add_subparsers(required=True)
    images = argparse.ArgumentParser(add_help=False)
    images.add_argument("folder", type=Path, help="with a file for each run")
    images.add_argument("--images", type=Path, help="folder with mnist.npz and its like")
    images.add_argument("--searches", action="store_true", help="the runs of random searches")
    command = commands.add_parser("train", parents=[images], help="train all networks")
    command.set_defaults(run=train_all)
    command = commands.add_parser("describe", parents=[images], help="describe them in a table")
    command.add_argument("table", type=Path, help="the table to write, a .npz file")
    command.set_defaults(run=describe_all)
    command = commands.add_parser("judge", help="score predictors on tables")
    command.add_argument("tables", nargs="+", type=Path)
    command.add_argument("--predictor", nargs="*", type=Path, default=[], help="default: shipped")
    command.add_argument("--json", type=Path, default=RESULTS / "unseen.json")
    command.set_defaults(run=judge_all)
    command = commands.add_parser("search", help="replay the recorded searches")
    command.add_argument("table", type=Path)
    command.add_argument("--predictor", nargs="*", type=Path, default=[], help="default: shipped")
    command.add_argument("--json", type=Path, default=RESULTS / "search.json")
    command.set_defaults(run=search_all)
    command = commands.add_parser("fits", help="fit to other columns and other networks")
    command.add_argument("zoo", type=Path, help="that the predictors are fitted to")
    command.add_argument("table", type=Path)
    command.add_argument("--json", type=Path, default=RESULTS / "fits.json")
    command.set_defaults(run=fit_all)
    asked = parser.parse_args(arguments)
    asked.run(asked)


if __name__ == "__main__":
    main()
