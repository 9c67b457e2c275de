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


def blocks(results: Entry) -> dict[str, str]:
    """Return the study's tables by the names of their marks in the pages."""
    scores = results["scores"]
    both = scores + results["anchored"]
    wild = [e for e in both if e["group"].endswith(", wild")]
    others = [e for e in both if not e["group"].endswith(", wild")]
    found = {
        "zoo": _zoo(results),
        "summary": _summary(numbers(results)),
        "goals": _goal_table(results),
        "same": _score_table(scores, "same", _r2_and_tau),
        "same errors": _score_table(scores, "same", _error),
        "dataset": _score_table(others, "dataset", _r2_and_tau, means=True),
        "dataset wild": _score_table(wild, "dataset", _r2_and_tau, means=True),
        "kind": _score_table(both, "kind", _r2_and_tau, means=True),
        "curve": _curve_table(results["curve"], "curve"),
        "curve mixed": _curve_table(results["curve"], "mixed"),
        "epochs": _epoch_table(results["by_epoch"]),
        "recipe": _recipe_table(results["within_recipe"]),
        "misleads": _score_table(scores, "pool", _r2_tau_error),
        "intervals": _coverage_table(results["coverage"]),
        "family": _family_table(results),
    }
    return {f"study {name}": block for name, block in found.items()}


def numbers(results: Entry) -> dict[str, str]:
    """Return single numbers for the text, by the names of their marks.

    "tau dataset of weights" is a mean over groups (without the wild ones of a data set),
    "... range" their lowest and highest, and "tau dataset/mnist of weights" is one group's.
    """
    found: dict[str, str] = {}
    gathered: dict[str, list[float]] = {}
    for e in results["scores"] + results["anchored"] + results["coverage"]:
        for key, name, write in _WRITTEN:
            if e.get(key) and e[key][0] is not None:
                found[f"{name} {e['part']}/{e['group']} of {_short(e)}"] = write(e[key][0])
                if not e["group"].endswith(", wild"):
                    gathered.setdefault(f"{name} {e['part']} of {_short(e)}", []).append(e[key][0])
        if "runs" in e:
            found[f"runs {e['part']}/{e['group']}"] = f"{e['runs']:,}"
    for name, values in gathered.items():
        write = next(w for _, short, w in _WRITTEN if name.startswith(f"{short} "))
        found[name] = write(float(np.mean(values)))
        found[f"{name} range"] = f"{write(min(values))} to {write(max(values))}"
    family = [e["auroc"][0] for e in results["family_check"] if e["auroc"][0] is not None]
    if family:
        found["family auroc range"] = f"{min(family):.2f} to {max(family):.2f}"
    return found


def _short(entry: Entry) -> str:
    return str(entry["column"]).removeprefix("ours, ")


def _percent(value: float) -> str:
    return f"{100 * value:.0f}%"


_WRITTEN: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("r2", "r2", "{:.2f}".format),
    ("tau", "tau", "{:.2f}".format),
    ("mean_absolute_error", "error", lambda value: f"{100 * value:.1f}"),
    ("coverage", "coverage", _percent),
    ("auroc", "auroc", "{:.2f}".format),
)
"""Key of a score, its name in the pages, and how it is written there."""


def _zoo(results: Entry) -> str:
    table, settings = results["table"], results["settings"]
    runs = ", ".join(f"{n:,} {kind}" for kind, n in sorted(table["runs"].items()))
    text = (
        f"The zoo has {sum(table['runs'].values()):,} runs ({runs}) with {table['checkpoints']:,} "
        f"checkpoints on {len(table['datasets'])} data sets ({', '.join(table['datasets'])}). Each "
        f"predictor is fitted to at most {settings['per_run']} checkpoints of a run, always "
        f"including the last one, and to {settings['most_rows']:,} checkpoints in all."
    )
    left_out = results["left_out"]
    if left_out:
        named = "; ".join(f"{name} ({why.rstrip('.')})" for name, why in left_out.items())
        text += f"\n\nNot measured this time: {named}."
    return text


_SUMMARY = (
    ("**[A known data set](study.md#the-same-data-set)**: order (τ)", "tau same", ""),
    ("error in points", "error same", ""),
    ("**[A new data set](study.md#a-new-data-set)**: order (τ)", "tau dataset", ""),
    ("error in points", "error dataset", ""),
    ("error in points after ten true accuracies", "error dataset", " + 10 truths"),
    ("**[A new kind of network](study.md#a-new-kind-of-network)**: order (τ)", "tau kind", ""),
    (
        "**[Training accuracy above 95%](study.md#where-training-accuracy-misleads)**: "
        "error in points",
        "error pool/confident",
        "",
    ),
    (
        "**[Wrong labels](study.md#where-training-accuracy-misleads)**: error in points",
        "error pool/label noise",
        "",
    ),
)


def _summary(found: dict[str, str]) -> str:
    """Lay out one line for each question."""
    columns = (*(name.removeprefix("ours, ") for name in OURS.values()), LOGGED)
    heads = [name if name == LOGGED else f"`{name}`" for name in columns]
    lines = ["| question | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for question, score, suffix in _SUMMARY:
        cells = [found.get(f"{score} of {column}{suffix}", "-") for column in columns]
        lines.append(f"| {question} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


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
