"""Fill the tables of docs/stopping.md from what the benchmarks measured.

    python docs/make_stopping_tables.py

Reads docs/figures/early_stopping.json and docs/figures/forecast.json, which
benchmarks/early_stopping.py and benchmarks/forecast.py write with ``--json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PAGE = DOCS / "stopping.md"
Group = dict[str, Any]


def name_of(split: str, group: str) -> str:
    """Call a pool of runs by its data set, and say where that was left out."""
    name = group.removeprefix("paper, ")
    return name if split == "known" else f"{name}, left out"


def pools(results: dict[str, dict[str, Group]], kind: str) -> dict[str, Group]:
    """Give the pools of a kind by name: ``known``, ``unseen`` or ``wild``."""
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
    mean, low, high = measured if part == "checkpoint" else measured["lost"]
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


def main() -> None:
    """Fill the page in."""
    results, forecasts = (
        json.loads((DOCS / "figures" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("early_stopping", "forecast")
    )
    tables = {
        f"{part} {kind}": table(pools(results, kind), part)
        for part in ("halving", "hopeless", "checkpoint")
        for kind in ("known", "unseen", "wild")
    }
    for one in forecasts:
        for kind in ("paper", "wild"):
            if kind in one:
                tables[f"forecast {one['split']} {kind}"] = forecast_table(one[kind])
    page = PAGE.read_text(encoding="utf-8")
    for name in re.findall(r"<!-- table: (.+?) -->", page):
        block = f"<!-- table: {name} -->\n\n{tables[name]}\n\n<!-- end of table -->"
        pattern = rf"<!-- table: {re.escape(name)} -->.*?<!-- end of table -->"
        page = re.sub(pattern, lambda _, block=block: block, page, count=1, flags=re.DOTALL)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
