"""Train networks on data that no zoo holds, describe them, and judge predictors on them.

    python -m benchmarks.unseen train FOLDER --images FOLDER
    python -m benchmarks.unseen describe FOLDER TABLE.npz --images FOLDER
    python -m benchmarks.unseen judge TABLE.npz ... [--predictor FILE ...] [--page docs/unseen.md]

``train`` goes on where it was stopped. Data whose package or file is missing is left out and named.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from accuracy_from_weights import load_predictor
from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
from accuracy_from_weights.predictor.pretrained import shipped_feature_sets
from accuracy_from_weights.zoo.table import ZooTable
from benchmarks.quality_study.pages import fill_page, markdown_table
from benchmarks.unseen import judging
from benchmarks.unseen.describing import WATCHED, describe
from benchmarks.unseen.runs import plan
from benchmarks.unseen.strangers import answers

os.environ.setdefault("KERAS_BACKEND", "torch")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def train_all(asked: argparse.Namespace) -> None:
    from benchmarks.unseen.training import train

    asked.folder.mkdir(parents=True, exist_ok=True)
    missing: dict[str, str] = {}
    for run in plan():
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
    table = describe(plan(), asked.folder, asked.images, _tell)
    table.save(asked.table)
    _tell(f"{len(table)} checkpoints in {asked.table}")


def judge_all(asked: argparse.Namespace) -> None:
    predictors = {path.stem: load_predictor(path) for path in asked.predictor}
    if not predictors:
        predictors = {
            features: load_predictor(features=features) for features in shipped_feature_sets()
        }
    parts = [_judged(path, predictors) for path in asked.tables]
    without_log = {
        name: predictor for name, predictor in predictors.items() if "log" not in predictor.features
    }
    if without_log:
        parts += ["## Networks that are no trained classifiers", answers(without_log)]
    text = "\n\n".join(parts) + "\n"
    if asked.page is None:
        print(text)
    else:
        fill_page(asked.page, text)


def _judged(path: Path, predictors: dict[str, AccuracyPredictor]) -> str:
    table = ZooTable.load(path)
    shown, details, asked = [], [], []
    for name, predictor in predictors.items():
        forms = (judging.REPORTED, judging.EVALUATED) if "log" in predictor.features else ("",)
        for form in forms:
            try:
                verdicts = judging.judge(predictor, table, form or judging.REPORTED)
            except ZooError as error:
                _tell(f"{name} on {path}: {error}")
                continue
            title = f"{name}, log {form}" if form else name
            asked.append((title, predictor, form or judging.REPORTED))
            better = judging.better_on(verdicts, form or judging.REPORTED)
            (mean,) = (v for v in verdicts if v.group == judging.MEAN)
            shown.append([title, *judging.cells(mean), better])
            details += [f"### {path.stem}: {title}", judging.verdict_table(verdicts)]
    head = ["means over data sets", *judging.HEAD, "better than training accuracy on"]
    parts = [f"## {path.stem}", markdown_table(head, shown)]
    if others := judging.ranks(table, WATCHED):
        parts.append(markdown_table(("", "networks", "mean τ", "lowest", "highest"), others))
    head, *lines = judging.choices(table, asked)
    parts += ["Points of accuracy below the run's best checkpoint:", markdown_table(head, lines)]
    return "\n\n".join([*parts, *details])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.unseen", description=(__doc__ or "").partition("\n")[0]
    )
    commands = parser.add_subparsers(required=True)
    images = argparse.ArgumentParser(add_help=False)
    images.add_argument("folder", type=Path, help="with a file for each run")
    images.add_argument("--images", type=Path, help="folder with mnist.npz and its like")
    command = commands.add_parser("train", parents=[images], help="train all networks")
    command.set_defaults(run=train_all)
    command = commands.add_parser("describe", parents=[images], help="describe them in a table")
    command.add_argument("table", type=Path, help="the table to write, a .npz file")
    command.set_defaults(run=describe_all)
    command = commands.add_parser("judge", help="score predictors on tables, in Markdown")
    command.add_argument("tables", nargs="+", type=Path)
    command.add_argument("--predictor", nargs="*", type=Path, default=[], help="default: shipped")
    command.add_argument("--page", type=Path, help="page to put the tables into")
    command.set_defaults(run=judge_all)
    asked = parser.parse_args(arguments)
    asked.run(asked)


if __name__ == "__main__":
    main()
