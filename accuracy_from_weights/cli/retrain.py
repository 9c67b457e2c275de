"""``retrain``: fit a predictor to a zoo of networks with known accuracy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from accuracy_from_weights.cli.options import (
    features_option,
    jobs_option,
    json_option,
    seed_option,
    zoo_arguments,
)
from accuracy_from_weights.cli.zoos import read_zoos
from accuracy_from_weights.errors import AccuracyFromWeightsError
from accuracy_from_weights.io.atomic import can_be_written
from accuracy_from_weights.io.text_table import align


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
@features_option
@json_option
@jobs_option
@seed_option
def command(
    zoos: tuple[Path, ...],
    output: Path,
    coverage: float,
    features: str,
    as_json: bool,
    jobs: int,
    seed: int,
) -> None:
    """Fit a predictor to each ZOO's networks together and write it to a file.

    ZOO is a zoo's folder or table, or a CSV file that lists checkpoints of your past runs in the
    columns file, run and accuracy.

    What it is worth is measured by cross-validation over training runs, printed, and written into
    the file. Where runs have several checkpoints, it also learns to forecast how they will end.
    """
    import numpy as np

    from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
    from accuracy_from_weights.zoo.trajectories import progress_of

    if not can_be_written(output):
        raise AccuracyFromWeightsError(
            f"The predictor cannot be written to {output}: name a folder that exists and can be "
            "written to."
        )
    table = read_zoos(zoos, jobs, probes="probes" in features)
    inputs = table.inputs(features)
    click.echo(
        f"Fitting to {len(table)} checkpoints of {len(np.unique(table.runs))} runs, "
        "and measuring on runs left out",
        err=True,
    )
    predictor = AccuracyPredictor(features, coverage=coverage, random_state=seed, n_jobs=jobs)
    course = {"groups": table.runs, "progress": progress_of(table)}
    predictor.fit(inputs, table.accuracy, domains=table.domains, **course)
    predictor.card_["zoo"] = {
        "fingerprint": table.fingerprint,
        "datasets": np.unique(table.datasets).tolist(),
    }
    predictor.save(output)
    if as_json:
        click.echo(json.dumps({"file": str(output), **predictor.card_}, indent=2))
    else:
        click.echo(_format_quality(predictor.card_["quality"]))
    click.echo(
        f"The predictor is in {output}. To see it beside simple baselines: accuracy-from-weights "
        f"evaluate {' '.join(map(str, zoos))}",
        err=True,
    )


def _format_quality(quality: dict[str, Any]) -> str:
    heads = ["", "networks", "R2", "tau", "mean abs. error", "truths in interval", "R2 at the end"]
    parts = {"all": quality, **quality.get("by_domain", {})}
    rows = [
        [
            name,
            f"{part['n_networks']:,}",
            f"{part['r2']:.3f}",
            f"{part['kendall_tau']:.3f}",
            f"{part['mean_absolute_error']:.3f}",
            f"{part['coverage']:.1%}",
            f"{part['last_checkpoints']['r2']:.3f}",
        ]
        for name, part in parts.items()
    ]
    return (
        f"Measured by {quality['protocol']}; intervals promise {quality['stated_coverage']:.0%}\n"
        + align([heads, *rows])
    )
