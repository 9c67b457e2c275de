"""The figures of docs/stopping.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .report import Group, pools

FEATURES = {
    "weights": "#56B4E9",
    "weights+probes": "#0072B2",
    "weights+probes+log": "#D55E00",
    "weights+probes+log+sample": "#009E73",
}
COLOURS = {
    **FEATURES,
    "training accuracy, as logged": "#777777",
    "true validation accuracy": "#000000",
}


def draw_all(results: dict[str, dict[str, Group]], forecasts: list[Group], folder: Path) -> None:
    """Draw what a search loses, and how forecasts err."""
    folder.mkdir(parents=True, exist_ok=True)
    _losses(results, "halving").savefig(folder / "stopping_halving.png", dpi=160)
    _errors(forecasts[0]["paper"]).savefig(folder / "stopping_forecast.png", dpi=160)


def _new(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(5.4, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    return figure, axes


def _losses(results: dict[str, dict[str, Group]], part: str) -> Figure:
    """One line a signal, one dot a pool of runs, a bar at their mean."""
    kinds = {"known": "o", "unseen": "s"}
    found = {kind: list(pools(results, kind).values()) for kind in kinds}
    names = [
        name
        for name in reversed(list(found["known"][0][part]))
        if not name.startswith(("chance", "the last, unless", "learned"))
    ]
    figure, axes = _new(1.2 + 0.3 * len(names))
    for place, name in enumerate(names):
        colour = next((c for key, c in COLOURS.items() if name.endswith(key)), "#CC79A7")
        for kind, mark in kinds.items():
            values = [one[part][name] for one in found[kind]]
            values = [v["lost"][0] if isinstance(v, dict) else v[0] for v in values]
            fill = "full" if kind == "known" else "none"
            axes.plot(values, [place] * len(values), mark, color=colour, fillstyle=fill)
            if kind == "known":
                axes.plot(np.mean(values), place, "|", color=colour, markersize=16)
    axes.plot([], [], "o", color="black", label="a known data set")
    axes.plot([], [], "s", color="black", fillstyle="none", label="a data set left out")
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_xlim(left=0)
    axes.set_xlabel("points of accuracy below the best")
    figure.legend(loc="outside upper center", ncols=2, fontsize="small", frameon=False)
    return figure


def _short(name: str) -> str:
    """Name a signal so that a figure has room for it."""
    name = name.replace("best mean of the last three estimates", "best mean of 3")
    name = name.replace("mean of the last three estimates", "mean of 3")
    return name.removesuffix(", as logged").replace("+", " + ")


def _errors(one: Group) -> Figure:
    """Errors of forecasts, epoch by epoch."""
    figure, axes = _new(3.8)
    lines = {f"forecast, {features}": colour for features, colour in FEATURES.items()}
    lines["true accuracy stays"] = "#777777"
    lines["curve through true accuracies"] = "#000000"
    for name, colour in lines.items():
        if name in one["points"]:
            style = "o-" if name.startswith("forecast") else "s:"
            means = [mean for mean, _, _ in one["points"][name]]
            axes.plot(one["done"], means, style, color=colour, label=name.replace("+", " + "))
    axes.set(xlabel=one["unit"], ylabel="mean absolute error, points")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=2, fontsize="small", frameon=False)
    return figure
