"""``retrain``: adapt a predictor to networks of known accuracy, or fit one to them alone."""

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
from accuracy_from_weights.cli.progress import progress_bar
from accuracy_from_weights.cli.zoos import read_zoos
from accuracy_from_weights.io.atomic import check_can_be_written
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
@click.option(
    "--from-scratch",
    is_flag=True,
    help="Fit to these networks alone, instead of correcting the predictor that ships.",
)
@features_option
@json_option
@jobs_option
@seed_option
def command(
    zoos: tuple[Path, ...],
    output: Path,
    coverage: float,
    from_scratch: bool,
    features: str,
    as_json: bool,
    jobs: int,
    seed: int,
) -> None:
    """Adapt the predictor to the networks of each ZOO and write it to a file.

    ZOO is a zoo's folder or table, or a CSV file that lists checkpoints of your past runs in the
    columns file, run and accuracy.

    The estimates of the predictor that ships are corrected, by no more than the runs bear out: a
    handful corrects their level, dozens or hundreds all else. With --from-scratch a predictor is
    fitted to these networks alone, which takes hundreds of runs.

    What the result is worth is measured by cross-validation over training runs, printed, and
    written into the file. Where runs have several checkpoints, it also learns to forecast how they
    will end.

    \b
    Examples:
      accuracy-from-weights retrain runs.csv --output my.predictor
      accuracy-from-weights retrain my-zoo --from-scratch --output my.predictor
    """
    import numpy as np

    from accuracy_from_weights import AccuracyPredictor, load_predictor
    from accuracy_from_weights.zoo.trajectories import progress_of

    check_can_be_written(output, "The predictor")
    table = read_zoos(zoos, jobs, probes="probes" in features).having(features)
    inputs = table.inputs(features, logs="mixed")
    click.echo(
        f"Fitting to {len(table)} checkpoints of {len(np.unique(table.runs))} runs, "
        "and measuring on runs left out",
        err=True,
    )
    settings: dict[str, Any] = {"coverage": coverage, "random_state": seed, "n_jobs": jobs}
    known = (inputs, table.accuracy, table.runs)
    with progress_bar("Fitting") as report:
        if from_scratch:
            predictor = AccuracyPredictor(features, **settings).fit(
                *known,
                tasks=table.tasks,
                domains=table.domains,
                progress=progress_of(table),
                on_fold=report,
            )
        else:
            base = load_predictor(features=features).set_params(**settings)
            predictor = base.retrain(*known, progress=progress_of(table), on_fold=report)
    predictor.card_["zoo"] = {
        "fingerprint": table.fingerprint,
        "datasets": np.unique(table.datasets).tolist(),
    }
    predictor.save(output)
    if as_json:
        click.echo(json.dumps({"file": str(output), **predictor.card_}, indent=2))
    else:
        click.echo(_format_quality(predictor.card_))
    hint = f"accuracy-from-weights estimate FILE --predictor {output}"
    if from_scratch:
        hint = f"accuracy-from-weights evaluate {' '.join(map(str, zoos))}"
    purpose = "To see it beside simple baselines" if from_scratch else "To use it"
    click.echo(f"The predictor is in {output}. {purpose}: {hint}", err=True)


def _format_quality(card: dict[str, Any]) -> str:
    if "quality" not in card:
        return (
            f"{card['n_runs']} runs correct the level of the estimates; what that is worth can be "
            "measured from 10 runs on."
        )
    quality = card["quality"]
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
