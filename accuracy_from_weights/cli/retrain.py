"""``retrain``: fit a predictor to a zoo of networks with known accuracy."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from accuracy_from_weights.cli.options import jobs_option, json_option, seed_option, zoo_arguments
from accuracy_from_weights.cli.progress import progress_bar
from accuracy_from_weights.cli.zoos import read_zoos
from accuracy_from_weights.errors import AccuracyFromWeightsError


@click.command()
@zoo_arguments
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the predictor; the file appears whole or not at all.",
)
@click.option(
    "--coverage",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Share of the truths that the intervals are to hold.",
)
@json_option
@jobs_option
@seed_option
def command(
    zoos: tuple[Path, ...], output: Path, coverage: float, as_json: bool, jobs: int, seed: int
) -> None:
    """Fit a predictor to each ZOO's networks together and write it to a file.

    What it is worth is measured by cross-validation over training runs, printed, and written into
    the file.
    """
    from accuracy_from_weights.evaluation import cross_validate, format_evaluations
    from accuracy_from_weights.predictor import AccuracyPredictor

    if not os.access(output.parent, os.W_OK):
        raise AccuracyFromWeightsError(
            f"Expected --output in a folder that can be written to. Received: {output}."
        )
    table = read_zoos(zoos, jobs)
    predictor = AccuracyPredictor(coverage=coverage, random_state=seed, n_jobs=jobs)
    click.echo(
        f"Fitting to {len(table)} checkpoints of {len(set(table.runs.tolist()))} runs", err=True
    )
    predictor.fit(table.features, table.accuracy, groups=table.runs)
    with progress_bar("Measuring its quality on unseen runs") as report:
        evaluations = cross_validate(
            table, predictor, baselines=(), random_state=seed, progress=report
        )
    quality = [evaluation.as_dict() for evaluation in evaluations]
    predictor.card_ |= {"zoo_fingerprint": table.fingerprint, "quality": quality}
    predictor.save(output)
    if as_json:
        click.echo(json.dumps({"file": str(output), "quality": quality}, indent=2))
    else:
        click.echo(format_evaluations(evaluations))
    click.echo(f"The predictor is in {output}", err=True)
