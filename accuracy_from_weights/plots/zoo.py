"""Histograms of the accuracies in a zoo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.plots.axes import require_matplotlib


def plot_accuracies(summaries: Sequence[dict[str, Any]], path: str | Path) -> None:
    """Draw the histogram of final accuracies of each zoo, one below the other, into a file.

    The summaries are those of `summary.summarise`, and the path's ending says which format to
    write. A picture that cannot be written is a `ZooError`.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

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
        raise ZooError(f"The plot cannot be written to {path}: {error}.") from error
