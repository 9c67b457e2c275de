"""Pictures of what a zoo holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from accuracy_from_weights.errors import MissingDependencyError, ZooError


def plot_accuracies(summaries: Sequence[dict[str, Any]], path: str | Path) -> None:
    """Draw the histogram of final accuracies of each zoo, one below the other.

    Parameters
    ----------
    summaries : sequence of dict
        As `summary.summarise` gives them.
    path : str or Path
        Picture to write; its ending says in which format.

    Raises
    ------
    MissingDependencyError
        When matplotlib is not installed.
    ZooError
        When the picture cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            f"Expected matplotlib to be installed for a picture. Received: {error}. "
            f'Install it with: pip install "accuracy-from-weights[plot]"'
        ) from error
    figure = Figure(figsize=(6.4, 0.8 + 1.6 * len(summaries)), layout="constrained")
    axes = figure.subplots(len(summaries), 1, sharex=True, squeeze=False)[:, 0]
    for axis, summary in zip(axes, summaries, strict=True):
        counts = summary["histogram"]
        edges = np.linspace(0, 1, len(counts) + 1)
        axis.stairs(counts, edges, fill=True, color="#4477aa")
        axis.set_title(f"{summary['name']}: {summary['networks']:,} networks", fontsize=10)
        axis.set_ylabel("networks")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlim(0, 1)
    axes[-1].set_xlabel("test accuracy at the last checkpoint")
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise ZooError(f"Expected to write a picture to {path}. Received: {error}.") from error
