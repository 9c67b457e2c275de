"""The tables and numbers of docs/stopping.md, from what the benchmarks measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Group = dict[str, Any]


def name_of(split: str, group: str) -> str:
    """Name a pool of runs by its data set, and say where that was left out."""
    name = group.removeprefix("paper, ")
    return name if split == "known" else f"{name}, left out"


def pools(results: dict[str, dict[str, Group]], kind: str) -> dict[str, Group]:
    """Return the pools of a kind by name: ``known``, ``unseen`` or ``wild``."""
    return {
        name_of(split, group): one
        for split, groups in results.items()
        for group, one in groups.items()
        if group.startswith("wild" if kind == "wild" else "paper")
        and (split == "known") == (kind != "unseen")
    }


def table(found: dict[str, Group], part: str) -> str:
    """Lay one measurement out, a column a pool of runs."""
    head = ["", *(f"{name} ({one['runs']} runs)" for name, one in found.items())]
    keys = next(iter(found.values()))[part]
    return lines(
        [head, *([key, *(cell(one[part][key], part) for one in found.values())] for key in keys)]
    )


def cell(measured: Any, part: str) -> str:
    """Write a mean with its interval and, for the rule that ends runs, the epochs saved."""
    mean, low, high = measured["lost"]
    text = f"{mean:.2f} ({low:.2f} to {high:.2f})"
    return f"{text}, {measured['saved']:.0%}" if part == "hopeless" else text


def forecast_table(one: Group) -> str:
    """Lay errors of forecasts out, a column a moment of the training."""
    rows = [[one["unit"], *(f"{done:g}" for done in one["done"])]]
    for name, cells in one["points"].items():
        rows.append([name, *(f"{m:.1f} ({low:.1f} to {high:.1f})" for m, low, high in cells)])
    for name, shares in one["coverage"].items():
        within = f"ends within the 90% interval, {name}"
        rows.append([within, *(f"{share:.0%}" for share in shares)])
    return lines(rows)


def lines(rows: Iterable[list[str]]) -> str:
    """Write rows of cells as a Markdown table, the first as its head."""
    head, *body = rows
    split = "|---|" + "---|" * (len(head) - 1)
    return "\n".join([_line(head), split, *map(_line, body)])


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |" if cells[0] else "| | " + " | ".join(cells[1:]) + " |"


def blocks(results: dict[str, dict[str, Group]], forecasts: list[Group]) -> dict[str, str]:
    """Return the tables by the names of their marks in the pages.

    Parameters
    ----------
    results, forecasts
        What benchmarks/early_stopping.py and benchmarks/forecast.py wrote with ``--json``.
    """
    tables = {
        f"{part} {kind}": table(pools(results, kind), part)
        for part in ("halving", "hopeless")
        for kind in ("known", "unseen", "wild")
    }
    for one in forecasts:
        for kind in ("paper", "wild"):
            if kind in one:
                tables[f"forecast {one['split']} {kind}"] = forecast_table(one[kind])
    return tables


def numbers(results: dict[str, dict[str, Group]]) -> dict[str, str]:
    """Return single numbers for the text, by the names of their marks.

    "lost halving known of weights" is the range, over pools of runs, of the points that a search
    by the estimate (or the mean of the last three estimates) lost; "saved" is the share of epochs.
    """
    found = {}
    for part in ("halving", "hopeless"):
        for kind in ("known", "unseen", "wild"):
            chosen = pools(results, kind).values()
            signals: dict[str, list[Group]] = {}
            for one in chosen:
                for key, measured in one[part].items():
                    name = key.removeprefix("estimate, ")
                    name = name.removeprefix("mean of the last three estimates, ")
                    signals.setdefault(name, []).append(measured)
            for name, measured in signals.items():
                for what, values, write in (
                    ("lost", [m["lost"][0] for m in measured], _points),
                    ("saved", [100 * m["saved"] for m in measured], "{:.0f}".format),
                ):
                    sign = "%" if what == "saved" else ""
                    ends = dict.fromkeys((write(min(values)), write(max(values))))
                    found[f"{what} {part} {kind} of {name}"] = " to ".join(ends) + sign
    return found


def _points(value: float) -> str:
    """Write points of accuracy; two places where one would say zero."""
    return f"{value:.1f}" if value >= 0.15 else f"{value:.2f}"
