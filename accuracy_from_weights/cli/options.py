"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from accuracy_from_weights.features.feature_sets import FEATURE_SETS

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=-1),
    default=1,
    show_default=True,
    help="Processes to work with; -1 for one a core.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every draw."
)
predictor_option = click.option(
    "--predictor",
    "predictor_file",
    type=click.Path(path_type=Path),
    help="A predictor's file, as retrain writes it.  [default: the one that ships]",
)
features_option = click.option(
    "--features",
    type=click.Choice(FEATURE_SETS),
    default="weights",
    show_default=True,
    help="What is read of a network: its weights; also its answers to synthetic inputs; also the "
    "training log; also its answers to training examples. A zoo in the published format has "
    "weights alone.",
)
zoo_arguments = click.argument(
    "zoos", metavar="ZOO...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
