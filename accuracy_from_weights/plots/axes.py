"""Axes that all pictures of accuracies over epochs share, in whichever style is set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accuracy_from_weights.errors import needs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of Okabe and Ito (2008), which most colour-blind eyes tell apart; legible on white and on black.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"


def require_matplotlib() -> None:
    """Raise `MissingDependencyError` unless matplotlib is installed."""
    with needs("Plots need matplotlib", extra="plot"):
        import matplotlib.figure  # noqa: F401 - whether it can be imported is the question


def new_axes() -> Axes:
    """Return axes of a figure that pyplot does not manage."""
    require_matplotlib()
    from matplotlib.figure import Figure

    axes: Axes = Figure(figsize=(7.5, 4.2), layout="constrained").add_subplot()
    return axes


def finish(
    axes: Axes,
    title: str | None,
    path: str | Path | None,
    legend: Mapping[str, Any] | None = None,
) -> None:
    """Label the axes, by default with the legend that matplotlib finds, and save their figure."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.02)
    axes.grid(axis="y", color="0.5", alpha=0.25, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    handles = {} if legend is None else {"handles": [*legend.values()], "labels": [*legend]}
    axes.legend(frameon=False, loc="best", **handles)
    if title is not None:
        axes.set_title(title, loc="left", fontsize="medium", fontweight="bold")
    if path is not None:
        figure: Any = axes.figure.figure  # of a subfigure, the figure that it is part of
        figure.savefig(path, dpi=150)
