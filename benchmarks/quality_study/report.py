"""The study's tables as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .columns import LOGGED, NAMES, OURS, PUBLISHED
from .goals import goals
from .pages import number
from .scoring import ANCHORED, ANCHORS

Entry = dict[str, Any]

_ANCHORED = tuple(f"{name} + {k} truths" for name in ANCHORED for k in ANCHORS)
_EPOCH_COLUMNS = (LOGGED, PUBLISHED, *OURS.values())


def tables(results: Entry) -> str:
    """Lay out all that was measured."""
    scores = results["scores"]
    parts = [_preface(results), "## Goals", _goal_table(results)]
    parts += ["## Same data set", _SAME, _score_table(scores, "same", _r2_and_tau)]
    parts += [_ERRORS, _score_table(scores, "same", _error)]
    parts += ["## A data set left out", _UNSEEN]
    both = scores + results["anchored"]
    for family, rows in (("The paper's networks", "paper"), ("Wild networks", "wild")):
        of_family = [e for e in both if ("wild" in e["group"]) == (rows == "wild")]
        parts += [f"{family}:", _score_table(of_family, "dataset", _r2_and_tau, means=True)]
    parts += ["## A kind of architecture left out", _KIND]
    parts += [_score_table(both, "kind", _r2_and_tau, means=True)]
    parts += ["## How many networks it takes", _CURVE]
    for part, text in (("curve", "The paper's networks"), ("mixed", "All kinds of networks")):
        parts += [f"{text}, R²:", _curve_table(results["curve"], part)]
    parts += ["## Epoch by epoch", _EPOCH, _epoch_table(results["by_epoch"])]
    parts += ["## Within one recipe", _RECIPE, _recipe_table(results["within_recipe"])]
    parts += ["## Where training accuracy misleads", _MISLEADS]
    parts += [_score_table(scores, "pool", _r2_tau_error)]
    parts += ["## Intervals", _INTERVALS, _coverage_table(results["coverage"])]
    parts += ["## Is the network one of the family?", _FAMILY, _family_table(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


_SAME = (
    "Fitted to two thirds of the runs of the paper's network on one data set, scored on the last "
    "checkpoints of the other third, in turn. R² / Kendall's τ. The last row is the highest τ that "
    "any ranking can have, since measured accuracies tie."
)
_ERRORS = "Mean absolute error of the same, in points of accuracy:"
_UNSEEN = (
    "Fitted to all networks of the other data sets. *n truths*: corrected by the true accuracy of "
    "that many finished runs of the data set; means over 20 draws. R² / τ, last checkpoints."
)
_KIND = (
    "Fitted to everything but one kind (the paper's network counts as a plain CNN), scored on that "
    "kind's wild networks. The truths are of the same kind and data set. R² / τ, last checkpoints."
)
_CURVE = (
    "Last checkpoints of a sixth of the runs, all data sets together; so many of the other runs, "
    "drawn at random, are fitted on. Small sizes are drawn two or three times: the mean, and the "
    "lowest and highest end of the bootstrap intervals."
)
_EPOCH = (
    "The paper's networks, fitted as under *same data set*. Mean absolute error in points / τ, the "
    "mean over data sets."
)
_RECIPE = (
    "The paper's networks, fitted as under *same data set*. *Checkpoints*: τ among the checkpoints "
    "of one run, a mean over runs whose accuracy changes by 2 points or more. *Runs*: τ among the "
    "last checkpoints of runs of one data set that agree in optimiser, activation and share of the "
    "training images, a mean over such groups."
)
_MISLEADS = (
    "Fitted to two thirds of all runs, whatever data set and kind, scored on the last checkpoints "
    "of the others. *confident*: logged training accuracy above .95. *label noise*: wild networks "
    "trained on some wrong labels. R² / τ / mean absolute error in points."
)
_INTERVALS = (
    "Share of last checkpoints within the 90% interval / mean width in points / AUROC of a wide "
    "interval against an error above 10 points. Predictors with intervals take many fits; these "
    "are fitted to fewer checkpoints and calibrated in fewer folds than is the package's default, "
    "which widens them. Where runs are left out, the first fold of three."
)
_FAMILY = (
    "AUROC of a small family p-value against an error above 10 points, last checkpoints. "
    "*outside*: share of networks with p below .01."
)


def _preface(results: Entry) -> str:
    table, settings = results["table"], results["settings"]
    runs = ", ".join(f"{n:,} {kind}" for kind, n in sorted(table["runs"].items()))
    text = (
        f"{sum(table['runs'].values()):,} runs ({runs}), {table['checkpoints']:,} checkpoints, "
        f"{len(table['datasets'])} data sets ({', '.join(table['datasets'])}). A predictor is "
        f"fitted to at most {settings['per_run']} checkpoints of a run, the last among them, and "
        f"{settings['most_rows']:,} in all. In brackets: 95% bootstrap intervals over runs; for "
        f"means over groups, the lowest and highest group; for truths, 5% and 95% of the draws."
    )
    left_out = results["left_out"]
    if left_out:
        named = "; ".join(f"{name} ({why.rstrip('.')})" for name, why in left_out.items())
        text += f"\n\nLeft out in this run: {named}."
    return text


def _goal_table(results: Entry) -> str:
    lines = ["| goal | reached | |", "|---|---|---|"]
    for goal in goals(results):
        verdict = "—" if goal.is_met is None else "yes" if goal.is_met else "**missed**"
        lines.append(f"| {goal.text} | {goal.reached} | {verdict} |")
    return "\n".join(lines)


def _with_ends(values: list[float | None] | None, factor: float = 1, places: int = 3) -> str:
    if not values or values[0] is None:
        return "-"
    centre, low, high = (None if v is None else v * factor for v in values)
    text = number(centre, places)
    return text if low is None else f"{text} ({number(low, places)} to {number(high, places)})"


def _r2_and_tau(entry: Entry) -> str:
    return f"{_with_ends(entry.get('r2'))} / {_with_ends(entry.get('tau'))}"


def _error(entry: Entry) -> str:
    return _with_ends(entry.get("mean_absolute_error"), 100, 2)


def _r2_tau_error(entry: Entry) -> str:
    return f"{_r2_and_tau(entry)} / {_error(entry)}"


def _sorted(names: Iterable[str]) -> list[str]:
    order = {name: i for i, name in enumerate((*NAMES, *_ANCHORED))}
    return sorted(set(names), key=lambda name: order.get(name, len(order)))


def _score_table(
    entries: list[Entry], part: str, cell: Callable[[Entry], str], means: bool = False
) -> str:
    entries = [entry for entry in entries if entry["part"] == part]
    if not entries:
        return "Not run."
    groups = list(dict.fromkeys(entry["group"] for entry in entries))
    runs = {e["group"]: max(e.get("runs", 0), 0) for e in reversed(entries) if "runs" in e}
    heads = [f"{group}, {runs.get(group, 0)} runs" for group in groups]
    lines = [
        "| | " + ("mean | " if means else "") + " | ".join(heads) + " |",
        "|---|" + "---|" * (len(heads) + means),
    ]
    for name in _sorted(entry["column"] for entry in entries):
        mine = {e["group"]: e for e in entries if e["column"] == name}
        cells = [
            cell(mine[group]) + _some(mine[group], runs.get(group, 0)) if group in mine else "-"
            for group in groups
        ]
        if means:
            averaged = {key: mean_of(mine.values(), key) for key in ("r2", "tau")}
            cells.insert(0, cell(averaged) if len(mine) == len(groups) else "-")
        strong = "**" if name.startswith("ours") else ""
        lines.append(f"| {strong}{name}{strong} | " + " | ".join(cells) + " |")
    if cell is _r2_and_tau:
        ceilings = {e["group"]: e["ceiling"] for e in entries if e["column"] == "mean"}
        cells = ["- / " + number(ceilings.get(group)) for group in groups]
        lines.append(
            "| highest τ possible | " + ("- | " if means else "") + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


def _some(entry: Entry, runs: int) -> str:
    """Say of how many runs a score is that is not of all."""
    mine = entry.get("runs", runs)
    return f" [{mine} runs]" if mine < runs else ""


def mean_of(entries: Iterable[Entry], key: str) -> list[float | None]:
    """Mean over groups of a score, and the lowest and highest of them."""
    values = [e[key][0] for e in entries if e.get(key) and e[key][0] is not None]
    if not values:
        return [None, None, None]
    return [float(np.mean(values)), min(values), max(values)]


def _curve_table(entries: list[Entry], part: str) -> str:
    entries = [entry for entry in entries if entry["part"] == part]
    if not entries:
        return "Not run."
    sizes = sorted({entry["size"] for entry in entries})
    lines = [
        "| | " + " | ".join(f"{size:,}" for size in sizes) + " |",
        "|---|" + "---|" * len(sizes),
    ]
    for name in _sorted(entry["column"] for entry in entries):
        mine = {e["size"]: _with_ends(e.get("r2")) for e in entries if e["column"] == name}
        lines.append(f"| {name} | " + " | ".join(mine.get(size, "-") for size in sizes) + " |")
    return "\n".join(lines)


def _error_and_tau(entry: Entry) -> str:
    error, tau = entry["mean_absolute_error"][0], entry["tau"][0]
    return f"{number(100 * error, 1)} / {number(tau, 2)}"


def _epoch_table(entries: list[Entry]) -> str:
    if not entries:
        return "Not run."
    epochs = sorted({entry["epoch"] for entry in entries})
    lines = [
        "| epoch | " + " | ".join(f"{e:g}" for e in epochs) + " |",
        "|---|" + "---|" * len(epochs),
    ]
    for name in _sorted(entry["column"] for entry in entries):
        if name in _EPOCH_COLUMNS:
            mine = {e["epoch"]: e for e in entries if e["column"] == name}
            cells = [_error_and_tau(mine[e]) if e in mine else "-" for e in epochs]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _recipe_table(entries: list[Entry]) -> str:
    if not entries:
        return "Not run."
    groups = [max(e.get(f"{what}_groups", 0) for e in entries) for what in ("checkpoints", "runs")]
    lines = [
        f"| | checkpoints ({groups[0]:,} runs) | runs ({groups[1]:,} groups) |",
        "|---|---|---|",
    ]
    for entry in sorted(
        entries, key=lambda e: _sorted(x["column"] for x in entries).index(e["column"])
    ):
        cells = " | ".join(_with_ends(entry.get(what)) for what in ("checkpoints", "runs"))
        lines.append(f"| {entry['column']} | {cells} |")
    return "\n".join(lines)


def _coverage_table(entries: list[Entry]) -> str:
    if not entries:
        return "Not run."
    columns = _sorted(entry["column"] for entry in entries)
    lines = ["| left out | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for part, group in dict.fromkeys((e["part"], e["group"]) for e in entries):
        cells = {
            e[
                "column"
            ]: f"{_with_ends(e['coverage'], 100, 0)} / {number(100 * e['width'][0], 0)} / "
            f"{_with_ends(e['auroc'])}"
            for e in entries
            if (e["part"], e["group"]) == (part, group)
        }
        name = f"{'all' if part in ('dataset', 'kind') else 'runs'} of {group}"
        name += ", one predictor for all" if part == "pool" else ""
        lines.append(f"| {name} | " + " | ".join(cells.get(c, "-") for c in columns) + " |")
    return "\n".join(lines)


def _family_table(results: Entry) -> str:
    names = {
        "same": "runs of a data set",
        "pool": "runs",
        "dataset": "a data set",
        "kind": "a kind",
    }
    lines = [
        "| left out | networks | column | outside | large errors | AUROC |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {names[e['part']]} | {e['group']}, {e['rows']:,} | {e['column']} | "
        f"{number(e['outside'])} | {number(e['large_errors'])} | {_with_ends(e['auroc'])} |"
        for e in results["family_check"]
    ]
    return "\n".join(lines) if results["family_check"] else "Not run."
