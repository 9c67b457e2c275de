"""The study's tables as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .columns import LOGGED, NAMES, OURS, PUBLISHED
from .pages import number

Entry = dict[str, Any]

_EPOCH_COLUMNS = (LOGGED, PUBLISHED, *OURS.values())


def blocks(results: Entry) -> dict[str, str]:
    """Return the study's tables by the names of their marks in the pages."""
    scores = results["scores"]
    return {
        "study zoo": _zoo(results),
        "study same": _score_table(scores, _r2_and_tau),
        "study same errors": _score_table(scores, _error),
        "study epochs": _epoch_table(results["by_epoch"]),
    }


def numbers(results: Entry) -> dict[str, str]:
    """Return single numbers for the text, by the names of their marks.

    "tau same of weights" is a mean over data sets, "... range" their lowest and highest.
    """
    found: dict[str, str] = {}
    for name in dict.fromkeys(e["column"] for e in results["scores"]):
        entries = [e for e in results["scores"] if e["column"] == name]
        for key, word, write in _WRITTEN:
            values = [e[key][0] for e in entries if e.get(key) and e[key][0] is not None]
            if values:
                mark = f"{word} same of {name.removeprefix('ours, ')}"
                found[mark] = write(float(np.mean(values)))
                found[f"{mark} range"] = f"{write(min(values))} to {write(max(values))}"
    return found


def _percent(value: float) -> str:
    return f"{100 * value:.0f}%"


_WRITTEN: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("r2", "r2", "{:.2f}".format),
    ("tau", "tau", "{:.2f}".format),
    ("mean_absolute_error", "error", lambda value: f"{100 * value:.1f}"),
    ("coverage", "coverage", _percent),
    ("width", "width", lambda value: f"{100 * value:.0f}"),
)
"""Key of a score, its name in the pages, and how it is written there."""


def _zoo(results: Entry) -> str:
    table, settings = results["table"], results["settings"]
    text = (
        f"The networks are {table['runs']:,} runs of the paper's network with "
        f"{table['checkpoints']:,} checkpoints on {len(table['datasets'])} data sets "
        f"({', '.join(table['datasets'])}). Each predictor is fitted to at most "
        f"{settings['per_run']} checkpoints of a run, always including the last one, and "
        f"calibrates its intervals in {settings['n_folds']} folds."
    )
    left_out = results["left_out"]
    if left_out:
        named = "; ".join(f"{name} ({why.rstrip('.')})" for name, why in left_out.items())
        text += f"\n\nNot measured this time: {named}."
    return text


def _with_ends(values: list[float | None] | None, factor: float = 1, places: int = 3) -> str:
    if not values or values[0] is None:
        return "-"
    centre, low, high = (None if v is None else v * factor for v in values)
    text = number(centre, places)
    return text if low is None else f"{text} ({number(low, places)} to {number(high, places)})"


def _r2_and_tau(entry: Entry) -> str:
    return f"{_with_ends(entry.get('r2'))} / {_with_ends(entry.get('tau'))}"


def _error(entry: Entry) -> str:
    error = _with_ends(entry.get("mean_absolute_error"), 100, 2)
    return f"{error} / {entry['coverage'][0]:.0%}" if "coverage" in entry else error


def _sorted(names: Iterable[str]) -> list[str]:
    order = {name: i for i, name in enumerate(NAMES)}
    return sorted(set(names), key=lambda name: order.get(name, len(order)))


def _score_table(entries: list[Entry], cell: Callable[[Entry], str]) -> str:
    groups = list(dict.fromkeys(entry["group"] for entry in entries))
    runs = {group: max(e["runs"] for e in entries if e["group"] == group) for group in groups}
    lines = [
        "| | " + " | ".join(f"{group}, {runs[group]} runs" for group in groups) + " |",
        "|---|" + "---|" * len(groups),
    ]
    for name in _sorted(entry["column"] for entry in entries):
        mine = {e["group"]: e for e in entries if e["column"] == name}
        cells = [
            cell(mine[group]) + _some(mine[group], runs[group]) if group in mine else "-"
            for group in groups
        ]
        strong = "**" if name.startswith("ours") else ""
        lines.append(f"| {strong}{name}{strong} | " + " | ".join(cells) + " |")
    if cell is _r2_and_tau:
        ceilings = {e["group"]: e["ceiling"] for e in entries if e["column"] == "mean"}
        cells = ["- / " + number(ceilings.get(group)) for group in groups]
        lines.append("| highest τ possible | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _some(entry: Entry, runs: int) -> str:
    """Say of how many runs a score is that is not of all."""
    mine = entry.get("runs", runs)
    return f" [{mine} runs]" if mine < runs else ""


def _error_and_tau(entry: Entry) -> str:
    error, tau = entry["mean_absolute_error"][0], entry["tau"][0]
    return f"{number(100 * error, 1)} / {number(tau, 2)}"


def _epoch_table(entries: list[Entry]) -> str:
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
