"""The study's figures: one for each question, readable at the width of a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .columns import LOGGED, LOGGED_TREES, NAMES, OURS, PUBLISHED, RECIPE

Entry = dict[str, Any]

WIDTH = 5.4
LABELS = {
    LOGGED: "training accuracy",
    LOGGED_TREES: "training accuracy, fitted",
    PUBLISHED: "paper's statistics",
    RECIPE: "recipe and epoch",
    **{column: features.replace("+", " + ") for features, column in OURS.items()},
}
COLOURS = {
    PUBLISHED: "#777777",
    LOGGED: "#000000",
    **dict(zip(OURS.values(), ("#56B4E9", "#0072B2", "#D55E00", "#009E73"), strict=False)),
}
OTHER = "#CC79A7"


def draw_all(results: Entry, folder: Path) -> None:
    """Draw every figure whose part of the study was run."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        figure = draw(results)
        if figure is not None:
            figure.savefig(folder / f"{name}.png", dpi=160)


def new_figure(height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of the width of a page."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    return figure, axes


def _same(results: Entry) -> Figure | None:
    """R², a line for each column and a dot for each data set."""
    found: dict[str, list[float]] = {}
    for name in reversed(NAMES):
        values = [e["r2"][0] for e in results["scores"] if e["column"] == name]
        if values:
            found[name] = values
    if not found:
        return None
    lowest = 0.4
    figure, axes = new_figure(1.0 + 0.3 * len(found))
    for place, (name, values) in enumerate(found.items()):
        colour = COLOURS.get(name, OTHER)
        axes.plot(np.clip(values, lowest, 1), [place] * len(values), "o", color=colour)
        mean = np.clip(np.mean(values), lowest, 1)
        axes.plot([mean], [place], "|", color=colour, markersize=18, markeredgewidth=2)
    axes.set_yticks(range(len(found)), [LABELS.get(name, name) for name in found])
    axes.set_xlim(lowest - 0.02, 1.02)
    axes.set_xlabel(f"R² (1: perfect); below {lowest:g} at the edge")
    return figure


def _epochs(results: Entry) -> Figure | None:
    """Mean absolute error by epoch."""
    found = {name: [e for e in results["by_epoch"] if e["column"] == name] for name in COLOURS}
    found = {name: mine for name, mine in found.items() if mine}
    if not found:
        return None
    figure, axes = new_figure(3.4)
    for name, mine in found.items():
        errors = [100 * e["mean_absolute_error"][0] for e in mine]
        axes.plot(
            [e["epoch"] for e in mine],
            errors,
            "o-",
            color=COLOURS[name],
            label=LABELS.get(name, name),
        )
    axes.set(xlabel="epoch", ylabel="mean absolute error, points")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=3, fontsize="small", frameon=False)
    return figure


FIGURES = {"study_same": _same, "study_epochs": _epochs}
