"""The study at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .columns import LOGGED, NAMES, OURS, PUBLISHED
from .report import mean_of

_COLOURS = {
    PUBLISHED: "#999999",
    LOGGED: "#000000",
    **dict(zip(OURS.values(), ("#56B4E9", "#0072B2", "#D55E00"), strict=True)),
}


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw R² by column, τ on what was left out, the learning curve and the error by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    ((same, unseen), (curve, epochs)) = figure.subplots(2, 2)
    _dots(
        same,
        results["scores"],
        ("same",),
        "r2",
        "R², same data set (below .4 at the edge)",
        (0.4, 1),
    )
    _dots(unseen, results["scores"], ("dataset", "kind"), "tau", "Kendall's τ, left out", (-0.2, 1))
    _curves(curve, results["curve"])
    _epochs(epochs, results["by_epoch"])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _dots(
    axes: Any,
    entries: list[dict[str, Any]],
    parts: tuple[str, ...],
    key: str,
    title: str,
    limits: tuple[float, float],
) -> None:
    """One line a column, one dot a group; a bar at the mean."""
    marks = {"same": "o", "dataset": "o", "kind": "s"}
    chosen = [e for e in entries if e["part"] in parts and not e["group"].endswith("wild")]
    names = [n for n in reversed(NAMES) if any(e["column"] == n and e.get(key) for e in chosen)]
    for place, name in enumerate(names):
        colour = _COLOURS.get(name, "#CC79A7")
        for part in parts:
            mine = [e for e in chosen if e["column"] == name and e["part"] == part]
            values = [e[key][0] for e in mine if e.get(key) and e[key][0] is not None]
            shown = np.clip(values, *limits)
            label = {"dataset": "a data set", "kind": "a kind of network"}.get(part)
            axes.plot(
                shown,
                [place] * len(values),
                marks[part],
                color=colour,
                fillstyle="full" if part != "kind" else "none",
                label=label if place == 0 else None,
            )
        if len(parts) == 1 and (mean := mean_of(mine, key)[0]) is not None:
            axes.plot([np.clip(mean, *limits)], [place], "|", color=colour, markersize=18)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(limits[0] - 0.02, limits[1] + 0.02)
    axes.set_title(title)
    axes.grid(axis="x", alpha=0.3)
    if len(parts) > 1 and names:
        axes.legend(fontsize="small", loc="lower left")


def _curves(axes: Any, entries: list[dict[str, Any]]) -> None:
    lowest = 1.0
    for name, colour in _COLOURS.items():
        mine = [e for e in entries if e["part"] == "curve" and e["column"] == name and e.get("r2")]
        if mine:
            values = np.array([e["r2"] for e in mine], float)
            sizes = [e["size"] for e in mine]
            axes.plot(sizes, values[:, 0], "o-", color=colour, label=name)
            axes.fill_between(sizes, values[:, 1], values[:, 2], color=colour, alpha=0.12)
            lowest = min(lowest, float(values[:, 0].min()))
    axes.set_xscale("log")
    axes.set_ylim(max(lowest - 0.05, 0), 1.005)
    axes.set_title("R² by the number of runs fitted on")
    axes.set_xlabel("runs")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize="small")


def _epochs(axes: Any, entries: list[dict[str, Any]]) -> None:
    for name, colour in _COLOURS.items():
        mine = [e for e in entries if e["column"] == name]
        if mine:
            errors = 100 * np.array([e["mean_absolute_error"] for e in mine], float)
            steps = [e["epoch"] for e in mine]
            axes.plot(steps, errors[:, 0], "o-", color=colour, label=name)
    axes.set_title("Mean absolute error by epoch")
    axes.set_xlabel("epoch")
    axes.set_ylabel("points")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
