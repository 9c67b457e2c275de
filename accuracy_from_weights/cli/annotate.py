"""``annotate``: estimates of a tracker's past runs, written back to the tracker."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accuracy_from_weights.cli.estimate import TABLE_HEAD, exit_code, table_cells
from accuracy_from_weights.cli.options import json_option, predictor_option
from accuracy_from_weights.cli.progress import progress_bar
from accuracy_from_weights.errors import needs
from accuracy_from_weights.io.text_table import align

if TYPE_CHECKING:
    from accuracy_from_weights.integrations.mlflow import Annotation


@click.group()
def command() -> None:
    """Write estimates to the past runs of a tracker."""


@command.command("mlflow")
@click.option("--experiment", required=True, help="Name of the experiment.")
@click.option(
    "--tracking-uri",
    help="Where MLflow keeps its runs, e.g. sqlite:///mlflow.db.  [default: MLflow's own choice, "
    "which MLFLOW_TRACKING_URI sets]",
)
@predictor_option
@json_option
@click.pass_context
def mlflow_command(
    ctx: click.Context,
    experiment: str,
    tracking_uri: str | None,
    predictor_file: Path | None,
    as_json: bool,
) -> None:
    """Estimate every model that an experiment's runs have logged, and write it to the runs.

    Each run gains the metric accuracy_from_weights, with _low, _high and _in_family, at the step of
    its model. Nothing else is touched; a second call changes nothing. Models that cannot be read
    are named on stderr, and the others are estimated all the same. No code in a model is run.

    \b
    Examples:
      accuracy-from-weights annotate mlflow --experiment sweep
      accuracy-from-weights annotate mlflow --experiment sweep --tracking-uri sqlite:///mlflow.db
    """
    from accuracy_from_weights import load_predictor

    with needs("This command needs MLflow", extra="mlflow"):
        from accuracy_from_weights.integrations.mlflow import annotate
    predictor = load_predictor(predictor_file)
    with progress_bar(f"Annotating {experiment}") as report:
        done = annotate(experiment, predictor, tracking_uri, report)
    estimated = [(one, one.estimate) for one in done if one.estimate is not None]
    if as_json:
        click.echo(json.dumps([_as_dict(one) for one in done], indent=2))
    elif estimated:
        rows = []
        for one, estimate in estimated:
            remark = "written" if one.written else "unchanged"
            rows.append([one.run_name, one.model, str(one.step), *table_cells(estimate), remark])
        click.echo(align([["run", "model", "step", *TABLE_HEAD, ""], *rows]))
    errors = [one.error for one in done if one.error is not None]
    for error in errors:
        click.echo(f"Error: {error}", err=True)
    n_outside = sum(not estimate.in_family for _, estimate in estimated)
    n_written = sum(one.written for one in done)
    click.echo(
        f"{n_written} of {len(done)} models written, {len(estimated) - n_written} unchanged, "
        f"{len(errors)} unreadable, {n_outside} outside the family that the predictor knows",
        err=True,
    )
    ctx.exit(exit_code(errors, n_outside))


def _as_dict(one: Annotation) -> dict[str, Any]:
    about = {name: getattr(one, name) for name in ("run_id", "run_name", "model", "step")}
    if one.estimate is None:
        return {**about, "error": str(one.error)}
    return {**about, **dataclasses.asdict(one.estimate), "written": one.written}
