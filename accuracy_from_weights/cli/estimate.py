"""``estimate``: the accuracy of saved networks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accuracy_from_weights.cli.options import jobs_option, json_option, predictor_option
from accuracy_from_weights.cli.progress import progress_bar
from accuracy_from_weights.errors import (
    AccuracyFromWeightsError,
    InvalidArgumentError,
    MissingDependencyError,
)
from accuracy_from_weights.features.feature_sets import FEATURE_SETS
from accuracy_from_weights.io.text_table import align

if TYPE_CHECKING:
    from accuracy_from_weights.features.describing import Row
    from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor, Estimate

TABLE_HEAD = ("accuracy", "low", "high", "in family")
_OUTSIDE_FAMILY = 3
_ARRAYS = (("x", "y"), ("x_train", "y_train"))
"""Names of inputs and classes in a file of training examples."""

# Reading a file takes milliseconds; below that many a bar would only flicker.
_FILES_WORTH_A_BAR = 20


@click.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--part",
    metavar="NAME",
    help="Which network, where a file holds several: teacher, model_ema... Of a zoo's network, the "
    "number of epochs trained.",
)
@click.option(
    "--task",
    type=click.Choice(("binary", "multiclass")),
    help="What the networks were trained for: needed for those of one output.",
)
@click.option(
    "--sample",
    "sample_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="NPZ",
    help="The training examples: arrays x and y (or x_train and y_train), as the networks take "
    "them. Each FILE has to be a .keras file then, which Keras runs on 256 of them. How many there "
    "are counts, too.",
)
@click.option("--sort", "best_first", is_flag=True, help="Print the best estimate first.")
@predictor_option
@json_option
@jobs_option
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="Where PyTorch describes layers of more than 65,536 weights: cuda, cuda:1, mps...",
)
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    part: str | None,
    task: str | None,
    sample_file: Path | None,
    best_first: bool,
    predictor_file: Path | None,
    as_json: bool,
    jobs: int,
    device: str,
) -> None:
    """Estimate the accuracy of saved networks: from their weights, or better with --sample.

    FILE is a .keras, .weights.h5, .pt, .pth, .ckpt, .pt2, .safetensors or .npz file, the folder of
    one checkpoint of transformers or Keras, or a folder of such files, which are all estimated.
    Files that cannot be read are named on stderr, and the others are estimated all the same.

    \b
    Examples:
      accuracy-from-weights estimate model.safetensors
      accuracy-from-weights estimate checkpoints/ --sort
      accuracy-from-weights estimate checkpoints/ --sort --sample train.npz
    """
    from accuracy_from_weights import load_predictor
    from accuracy_from_weights.features.describing import describe_many

    features = FEATURE_SETS[0 if sample_file is None else -1]
    predictor = load_predictor(predictor_file, features=features)
    if predictor.features != features:
        advice = {FEATURE_SETS[0]: "leave --sample out", FEATURE_SETS[-1]: "pass --sample"}.get(
            predictor.features, "use it in Python, predictor.estimate(model, log=...)"
        )
        raise InvalidArgumentError(f"{predictor_file} reads {predictor.features}; {advice}.")
    if device != "cpu":
        from accuracy_from_weights.weights.device_arrays import check_device

        check_device(device)
    files = tuple(file for path in files for file in _files_of(path))
    with (
        progress_bar("Estimating") if len(files) >= _FILES_WORTH_A_BAR else nullcontext() as report
    ):
        if sample_file is None:
            described = describe_many(
                files, device=device, n_jobs=jobs, progress=report, part=part, task=task
            )
        else:
            described = _describe_models(files, _examples(sample_file), report, part, task)
    found = _judge(described, predictor)
    results = list(zip(files, found, strict=True))
    if best_first:
        results.sort(key=lambda result: getattr(result[1], "accuracy", -1.0), reverse=True)
    errors = [(f, result) for f, result in results if isinstance(result, AccuracyFromWeightsError)]
    estimates = [(f, r) for f, r in results if not isinstance(r, AccuracyFromWeightsError)]
    if as_json:
        click.echo(json.dumps([_as_dict(file, result) for file, result in results], indent=2))
    elif estimates:
        rows = [[str(file), *table_cells(estimate)] for file, estimate in estimates]
        click.echo(align([["file", *TABLE_HEAD], *rows]))
    for file, error in errors:
        message = str(error)
        click.echo(f"Error: {message if str(file) in message else f'{file}: {message}'}", err=True)
    outside = sum(not estimate.in_family for _, estimate in estimates)
    if outside:
        click.echo(
            f"Warning: {outside} of {len(estimates)} networks look unlike those that the predictor "
            "knows, so their estimates may be far off. To fit a predictor to networks of your own: "
            "accuracy-from-weights retrain",
            err=True,
        )
    ctx.exit(exit_code((error for _, error in errors), outside))


def _files_of(path: Path) -> list[Path]:
    """Return the files of weights in a folder of checkpoints; else the path itself."""
    from accuracy_from_weights.weights.files import EXTENSIONS
    from accuracy_from_weights.weights.files.folders import is_checkpoint

    if not path.is_dir() or is_checkpoint(path):
        return [path]
    inside = sorted(path.iterdir())
    found = [file for file in inside if file.suffix.lower() in EXTENSIONS or is_checkpoint(file)]
    return found or [path]


def _examples(path: Path) -> tuple[Any, Any]:
    """Read training inputs and their classes."""
    from accuracy_from_weights.io.archives import open_data

    with open_data(path) as archive:
        for x, y in _ARRAYS:
            if {x, y} <= set(archive.names):
                return archive[x], archive[y]
    raise InvalidArgumentError(
        f"{path} holds no arrays x and y; write it by numpy.savez({path.name!r}, x=..., y=...)."
    )


def _describe_models(
    files: Sequence[Path],
    examples: tuple[Any, Any],
    report: Callable[[int, int], None] | None,
    part: str | None,
    task: str | None,
) -> list[Row | AccuracyFromWeightsError]:
    """Describe networks that are run on training examples, one after another."""
    from accuracy_from_weights.features.describing import describe_network

    described: list[Row | AccuracyFromWeightsError] = []
    log = {"samples": float(len(examples[1]))}
    for file in files:
        try:
            described += list(
                describe_network(
                    file, FEATURE_SETS[-1], log=log, sample=examples, part=part, task=task
                )
            )
        except MissingDependencyError:
            raise  # the other files need it as well
        except AccuracyFromWeightsError as error:
            described.append(error)
        if report is not None:
            report(len(described), len(files))
    return described


def _judge(
    described: Sequence[Row | AccuracyFromWeightsError], predictor: AccuracyPredictor
) -> list[Estimate | AccuracyFromWeightsError]:
    """Return an estimate, or the error that says why there is none, for each file in its order."""
    import numpy as np

    found = [row for row in described if not isinstance(row, AccuracyFromWeightsError)]
    estimates = iter(predictor.judge(np.stack(found)) if found else [])
    return [
        row if isinstance(row, AccuracyFromWeightsError) else next(estimates) for row in described
    ]


def _as_dict(file: Path, result: Estimate | AccuracyFromWeightsError) -> dict[str, Any]:
    if isinstance(result, AccuracyFromWeightsError):
        return {"file": str(file), "error": str(result)}
    return {"file": str(file), **dataclasses.asdict(result)}


def table_cells(estimate: Estimate) -> list[str]:
    """Return an estimate's cells in a table that is headed by `TABLE_HEAD`."""
    numbers = (f"{value:.3f}" for value in (estimate.accuracy, estimate.low, estimate.high))
    remark = "" if estimate.condition == "ok" else f" ({estimate.condition})"
    return [*numbers, ("yes" if estimate.in_family else "no") + remark]


def exit_code(errors: Iterable[AccuracyFromWeightsError], n_outside: int) -> int:
    """Return the code of the worst error, else whether an estimate lies outside the family."""
    return max((error.exit_code for error in errors), default=_OUTSIDE_FAMILY if n_outside else 0)
