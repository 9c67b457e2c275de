"""Run an example as a user does, in this process, which has its libraries loaded already."""

from __future__ import annotations

import io
import re
import runpy
import warnings
from contextlib import redirect_stdout
from pathlib import Path

from accuracy_from_weights.errors import AccuracyFromWeightsWarning

FOLDER = Path(__file__).parents[2] / "examples"


def run_example(name: str) -> str:
    """Give what the example prints; any warning of ours but that of a strange network is raised."""
    out = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(out):
        warnings.filterwarnings("ignore", ".*outside the family", AccuracyFromWeightsWarning)
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    return out.getvalue()


def check_training(name: str) -> None:
    """Run an example that trains until the estimate has not risen for four epochs."""
    text = run_example(name)
    estimates = [float(value) for value in re.findall(r"epoch +\d+  estimate (\S+)\n", text)]
    epochs, truth = re.search(r"trained (\d+) of 20 epochs, true accuracy (\S+)\n$", text).groups()
    assert int(epochs) == len(estimates)
    best = estimates.index(max(estimates))
    assert len(estimates) == 20 or len(estimates) - 1 - best >= 3, "printed figures are rounded"
    assert float(truth) > 0.6
