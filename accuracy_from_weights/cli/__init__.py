"""The command line: ``accuracy-from-weights COMMAND``, one file a command.

Commands are imported when they are called, so that ``--help`` loads no numerical library.
"""

from __future__ import annotations

import click

import accuracy_from_weights
from accuracy_from_weights.cli.group import LazyGroup

COMMANDS = {
    "estimate": "Estimate the accuracy of saved networks.",
    "retrain": "Adapt the predictor to networks of your own with known accuracy.",
    "evaluate": "Measure a predictor on unseen runs, beside simple baselines.",
    "annotate": "Write estimates to the past runs of a tracker: mlflow.",
    "zoo": "Build, import, export and inspect zoos of networks.",
    "demo": "Train a small network and watch the estimate beside the truth.",
}


@click.group(
    cls=LazyGroup,
    lazy_commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 1 failed; 2 wrong usage; 3 estimated, but a network lies outside "
    "what the predictor knows; 4 a file could not be read or is not to be trusted.",
)
@click.option(
    "--debug",
    is_flag=True,
    envvar="ACCURACY_FROM_WEIGHTS_DEBUG",
    help="Show the traceback of an error.  [env: ACCURACY_FROM_WEIGHTS_DEBUG]",
)
@click.version_option(
    accuracy_from_weights.__version__, "-V", "--version", prog_name="accuracy-from-weights"
)
def main(debug: bool) -> None:
    """Estimate a neural network's accuracy from its weights, without validation data."""


__all__ = ["COMMANDS", "main"]
