"""``evaluate``: how good a predictor is on unseen runs, beside simple baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from accuracy_from_weights.cli.options import (
    features_option,
    jobs_option,
    json_option,
    predictor_option,
    seed_option,
    zoo_arguments,
)
from accuracy_from_weights.cli.progress import progress_bar
from accuracy_from_weights.cli.zoos import read_zoos
from accuracy_from_weights.io.atomic import check_can_be_written


@click.command()
@zoo_arguments
@predictor_option
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    default=5,
    show_default=True,
    help="Folds of the cross-validation.",
)
@click.option(
    "--hold-out",
    type=click.Choice(["run", "task", "dataset"]),
    default="run",
    show_default=True,
    help="What the tested part shares with no fitted one: training runs, tasks (all data sets "
    "together, in folds), or whole data sets (one at a time).",
)
@click.option(
    "--report",
    "report_file",
    metavar="FILE.html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page with pictures, too: calibration, errors by accuracy and epoch, the family "
    "check, features that matter. Needs the extra 'report'.",
)
@features_option
@json_option
@jobs_option
@seed_option
def command(
    zoos: tuple[Path, ...],
    predictor_file: Path | None,
    folds: int,
    hold_out: str,
    report_file: Path | None,
    features: str,
    as_json: bool,
    jobs: int,
    seed: int,
) -> None:
    """Measure a predictor on unseen runs of each ZOO, beside simple baselines.

    Without --predictor, predictors are fitted to a part of the runs and scored on the rest, in
    turn. With it, the given predictor is scored on all networks of the zoo, by what it reads.

    \b
    Examples:
      accuracy-from-weights evaluate my-zoo --report report.html
      accuracy-from-weights evaluate runs.csv --predictor my.predictor
    """
    from accuracy_from_weights import load_predictor
    from accuracy_from_weights.evaluation import cross_validate, format_evaluations, score_predictor
    from accuracy_from_weights.evaluation.inspection import Inspector
    from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor

    if report_file is not None:
        _check_report(report_file)
    if predictor_file is None:
        predictor = AccuracyPredictor(features, n_jobs=jobs)
    else:
        predictor = load_predictor(predictor_file)
    table = read_zoos(zoos, jobs, probes="probes" in predictor.features).having(predictor.features)
    other_datasets = hold_out == "run" and predictor_file is None
    inspector = Inspector(table, other_datasets=other_datasets, random_state=seed)
    inspect = None if report_file is None else inspector
    if predictor_file is None:
        with progress_bar("Fitting and scoring") as report:
            evaluations = cross_validate(
                table,
                predictor,
                n_folds=folds,
                hold_out=hold_out,
                random_state=seed,
                progress=report,
                inspect=inspect,
            )
    else:
        _say_how_unseen(predictor.card_, predictor_file, table.fingerprint)
        evaluations = score_predictor(table, predictor, random_state=seed, inspect=inspect)
    if as_json:
        click.echo(json.dumps([evaluation.as_dict() for evaluation in evaluations], indent=2))
    else:
        click.echo(format_evaluations(evaluations))
    if report_file is not None:
        from accuracy_from_weights.evaluation.report.html_report import write_report

        write_report(
            report_file,
            evaluations,
            inspector.inspections(),
            zoo=", ".join(path.name for path in zoos),
            fingerprint=table.fingerprint,
            given=None if predictor_file is None else predictor_file.name,
        )
        click.echo(f"The report is in {report_file}", err=True)


def _check_report(path: Path) -> None:
    """Check before the long work that the report can be written."""
    from accuracy_from_weights.evaluation.report.html_report import load_template
    from accuracy_from_weights.plots.axes import require_matplotlib

    load_template()
    require_matplotlib()
    check_can_be_written(path, "The report")


def _say_how_unseen(card: dict[str, Any], predictor_file: Path, fingerprint: str) -> None:
    if card.get("zoo", {}).get("fingerprint") == fingerprint:
        click.echo(
            f"Warning: {predictor_file} was fitted to these very networks, so the scores say "
            "nothing about others. Without --predictor they are scored in cross-validation.",
            err=True,
        )
    else:
        click.echo(
            f"{predictor_file} is scored on every network, as if it had seen none of them: "
            "where it was fitted to some, the scores flatter it.",
            err=True,
        )
