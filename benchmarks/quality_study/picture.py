"""The study's figures: one for each question, readable at the width of a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
_COMPARED = (LOGGED, PUBLISHED, *OURS.values())


def draw_all(results: Entry, folder: Path) -> None:
    """Draw every figure whose part of the study was run."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        figure = draw(results)
        if figure is not None:
            figure.savefig(folder / f"{name}.png", dpi=160)


def _new(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    return figure, axes


def _label(name: str) -> str:
    return LABELS.get(name, name)


def _values(entries: Iterable[Entry], part: str, column: str, key: str) -> list[float]:
    """Return a score of each group but the wild ones of a data set."""
    return [
        e[key][0]
        for e in entries
        if e["part"] == part
        and e["column"] == column
        and not e["group"].endswith(", wild")
        and e.get(key)
        and e[key][0] is not None
    ]


def _overview(results: Entry) -> Figure | None:
    """Rank correlation in the three situations, for what is compared."""
    situations = {
        "same": "a known\ndata set",
        "dataset": "a new\ndata set",
        "kind": "a new kind\nof network",
    }
    parts = [p for p in situations if any(e["part"] == p for e in results["scores"])]
    if not parts:
        return None
    figure, axes = _new(3.6)
    gap = 0.8 / len(_COMPARED)
    for place, part in enumerate(reversed(parts)):
        for k, name in enumerate(_COMPARED):
            values = _values(results["scores"], part, name, "tau")
            if values:
                height = place + gap * ((len(_COMPARED) - 1) / 2 - k)
                axes.plot([min(values), max(values)], [height] * 2, color=COLOURS[name], alpha=0.35)
                shown = _label(name) if part == parts[0] else None
                axes.plot(np.mean(values), height, "o", color=COLOURS[name], label=shown)
    axes.set_yticks(range(len(parts)), [situations[part] for part in reversed(parts)])
    axes.set_xlim(right=1)
    axes.set_xlabel("Kendall's τ (lines: range over data sets or kinds)")
    figure.legend(loc="outside upper center", ncols=3, fontsize="small", frameon=False)
    return figure


def _dots(part: str, key: str, lowest: float) -> Callable[[Entry], Figure | None]:
    """Return a drawing with a line for each column and a dot for each group."""
    words = {"r2": "R² (1: perfect)", "tau": "Kendall's τ (1: perfect order)"}

    def draw(results: Entry) -> Figure | None:
        found = {name: _values(results["scores"], part, name, key) for name in reversed(NAMES)}
        found = {name: values for name, values in found.items() if values}
        if not found:
            return None
        figure, axes = _new(1.0 + 0.3 * len(found))
        for place, (name, values) in enumerate(found.items()):
            colour = COLOURS.get(name, OTHER)
            axes.plot(np.clip(values, lowest, 1), [place] * len(values), "o", color=colour)
            mean = np.clip(np.mean(values), lowest, 1)
            axes.plot([mean], [place], "|", color=colour, markersize=18, markeredgewidth=2)
        axes.set_yticks(range(len(found)), [_label(name) for name in found])
        axes.set_xlim(lowest - 0.02, 1.02)
        below = any(min(values) < lowest for values in found.values())
        edge = f"; below {lowest:g} at the edge" if below else ""
        axes.set_xlabel(f"{words[key]}{edge}")
        return figure

    return draw


def _curve(results: Entry) -> Figure | None:
    """R² by the number of runs fitted on."""
    found = {}
    for name in COLOURS:
        mine = [e for e in results["curve"] if e["part"] == "curve" and e["column"] == name]
        mine = [e for e in mine if e.get("r2")]
        if mine:
            found[name] = [e["size"] for e in mine], np.array([e["r2"] for e in mine], float)
    if not found:
        return None
    figure, axes = _new(3.8)
    for name, (sizes, values) in found.items():
        axes.plot(sizes, values[:, 0], "o-", color=COLOURS[name], label=_label(name))
        axes.fill_between(sizes, values[:, 1], values[:, 2], color=COLOURS[name], alpha=0.12)
    axes.set_xscale("log")
    sizes = max((sizes for sizes, _ in found.values()), key=len)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45)
    axes.minorticks_off()
    lowest = min(float(values[:, 0].min()) for _, values in found.values())
    axes.set_ylim(max(lowest - 0.05, 0), 1.005)
    axes.set(xlabel="runs fitted on", ylabel="R²")
    axes.legend(fontsize="small", frameon=False)
    return figure


def _epochs(results: Entry) -> Figure | None:
    """Mean absolute error by epoch."""
    found = {name: [e for e in results["by_epoch"] if e["column"] == name] for name in COLOURS}
    found = {name: mine for name, mine in found.items() if mine}
    if not found:
        return None
    figure, axes = _new(3.4)
    for name, mine in found.items():
        errors = [100 * e["mean_absolute_error"][0] for e in mine]
        axes.plot([e["epoch"] for e in mine], errors, "o-", color=COLOURS[name], label=_label(name))
    axes.set(xlabel="epoch", ylabel="mean absolute error, points")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=3, fontsize="small", frameon=False)
    return figure


def _recipe(results: Entry) -> Figure | None:
    """Rank correlation within one run, and among runs of one recipe."""
    rows = {e["column"]: e for e in results["within_recipe"]}
    names = [name for name in reversed(NAMES) if name in rows]
    if not names:
        return None
    figure, axes = _new(1.2 + 0.3 * len(names))
    marks = {"checkpoints": ("o", "full"), "runs": ("s", "none")}
    words = {"checkpoints": "among checkpoints of one run", "runs": "among runs of one recipe"}
    for what, (mark, fill) in marks.items():
        for place, name in enumerate(names):
            value = rows[name].get(what)
            if value and value[0] is not None:
                colour = COLOURS.get(name, OTHER)
                axes.plot(value[0], place, mark, color=colour, fillstyle=fill)
        axes.plot([], [], mark, color=OTHER, fillstyle=fill, label=words[what])
    axes.set_yticks(range(len(names)), [_label(name) for name in names])
    axes.set_xlabel("Kendall's τ (1: perfect order)")
    figure.legend(loc="outside upper center", ncols=2, fontsize="small", frameon=False)
    return figure


def _misleads(results: Entry) -> Figure | None:
    """Mean absolute error where training accuracy misleads."""
    pools = {
        "confident": "training accuracy\nabove 95%",
        "label noise": "trained on some\nwrong labels",
    }
    columns = (LOGGED, LOGGED_TREES, *OURS.values())
    found = {
        (group, e["column"]): e["mean_absolute_error"]
        for group in pools
        for e in results["scores"]
        if (e["part"], e["group"]) == ("pool", group) and e["column"] in columns
    }
    if not found:
        return None
    figure, axes = _new(3.2)
    for k, (group, name) in enumerate(found):
        value, low, high = (100 * v for v in found[group, name])
        place = list(pools).index(group) * (len(columns) + 1) + columns.index(name)
        colour = COLOURS.get(name, OTHER)
        axes.barh(place, value, color=colour, label=_label(name) if k < len(columns) else None)
        axes.plot([low, high], [place] * 2, color="black", linewidth=1)
    middles = [k * (len(columns) + 1) + (len(columns) - 1) / 2 for k in range(len(pools))]
    axes.set_yticks(middles, list(pools.values()))
    axes.invert_yaxis()
    axes.set_xlabel("mean absolute error, points")
    figure.legend(loc="outside upper center", ncols=3, fontsize="small", frameon=False)
    return figure


_WHERE = {
    "same": "runs of {}",
    "pool": "runs of {}, one predictor",
    "dataset": "all of {}",
    "kind": "all of {}",
}


def _intervals(results: Entry) -> Figure | None:
    """Share of truths inside the intervals, by what was left out."""
    entries = list(reversed(results["coverage"]))
    if not entries:
        return None
    figure, axes = _new(1.0 + 0.24 * len(entries))
    for place, entry in enumerate(entries):
        value, low, high = (100 * v for v in entry["coverage"])
        colour = COLOURS.get(entry["column"], OTHER)
        axes.plot([low, high], [place] * 2, color=colour, alpha=0.4)
        axes.plot(value, place, "o", color=colour)
    axes.axvline(90, color="black", linewidth=1, linestyle=":")
    labels = [_WHERE[e["part"]].format(e["group"]) for e in entries]
    axes.set_yticks(range(len(entries)), labels)
    axes.set_xlabel("truths inside the 90% interval, percent")
    return figure


def _family(results: Entry) -> Figure | None:
    """How well an unusual description foretells a large error."""
    words = {
        "same": "runs of a data set",
        "pool": "runs",
        "dataset": "a data set",
        "kind": "a kind of network",
    }
    groups = list(dict.fromkeys((e["part"], e["group"]) for e in results["family_check"]))
    if not groups:
        return None
    figure, axes = _new(1.2 + 0.4 * len(groups))
    for e in results["family_check"]:
        place = groups.index((e["part"], e["group"])) + 0.2 * list(OURS.values()).index(e["column"])
        colour = COLOURS[e["column"]]
        if e["auroc"][0] is not None:
            axes.plot(e["auroc"][1:], [place] * 2, color=colour, alpha=0.4)
            shown = _label(e["column"]) if (e["part"], e["group"]) == groups[0] else None
            axes.plot(e["auroc"][0], place, "o", color=colour, label=shown)
    axes.axvline(0.5, color="black", linewidth=1, linestyle=":")
    axes.set_xlim(0, 1)
    axes.set_yticks(
        np.arange(len(groups)) + 0.2, [f"{words[part]} left out,\n{kind}" for part, kind in groups]
    )
    axes.invert_yaxis()
    axes.set_xlabel("AUROC (0.5: no better than chance, 1: perfect)")
    figure.legend(loc="outside upper center", ncols=3, fontsize="small", frameon=False)
    return figure


FIGURES = {
    "quality": _overview,
    "study_same": _dots("same", "r2", 0.4),
    "study_dataset": _dots("dataset", "tau", 0.0),
    "study_kind": _dots("kind", "tau", 0.0),
    "study_curve": _curve,
    "study_epochs": _epochs,
    "study_recipe": _recipe,
    "study_misleads": _misleads,
    "study_intervals": _intervals,
    "study_family": _family,
}
