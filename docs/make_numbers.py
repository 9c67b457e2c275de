"""Write every table, number and figure that was measured into the documentation.

    python docs/make_numbers.py

Reads benchmarks/results/ and the cards of the predictors that ship, and measures nothing. Run it
after a benchmark has written there, and after a predictor that ships was fitted again. Needs the
extra plot.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from page_marks import DOCS, fill_pages

sys.path.insert(0, str(DOCS.parent))

from accuracy_from_weights.predictor.pretrained import load_predictor, shipped_feature_sets
from benchmarks import goals, task_curve
from benchmarks.quality_study import report as study
from benchmarks.quality_study.pages import markdown_table
from benchmarks.quality_study.picture import draw_all as draw_study
from benchmarks.replay_study import report as replay
from benchmarks.replay_study.picture import draw_all as draw_replays
from benchmarks.retraining import as_markdown
from benchmarks.unseen import fits, searching
from benchmarks.unseen import report as unseen
from benchmarks.unseen.picture import draw_all as draw_unseen

RESULTS = DOCS.parent / "benchmarks" / "results"


def measured(name: str) -> Any:
    """Return what a benchmark wrote."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def of_cards(whole: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return what the cards of the shipped predictors say of their quality."""
    cards = {features: card["quality"] for features, card in whole.items()}
    parts = {features: {"all": card, **card["by_domain"]} for features, card in cards.items()}
    lines = [f"| networks | {' | '.join(f'`{f}`' for f in parts)} |", "|---|" + "---|" * len(parts)]
    for name in dict.fromkeys(name for part in parts.values() for name in part):
        cells = [
            f"{part['r2']:.2f} / {part['kendall_tau']:.2f} / "
            f"{100 * part['mean_absolute_error']:.1f} / {part['coverage']:.0%}"
            if part
            else ""
            for part in (of_features.get(name) for of_features in parts.values())
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    found = {"shipped quality": "\n".join(lines)}
    for features, card in whole.items():
        names = card["zoo"]["datasets"]
        generated = sum(name.startswith("universe") for name in names)
        found[f"shipped networks of {features}"] = f"{card['n_runs']:,}"
        found[f"shipped tasks of {features}"] = f"{generated:,}"
        found[f"shipped data sets of {features}"] = f"{len(names) - generated}"
    for features, card in cards.items():
        found[f"shipped error of {features}"] = f"{100 * card['mean_absolute_error']:.1f}"
        found[f"shipped coverage of {features}"] = f"{card['coverage']:.0%}"
    coverages = [p["coverage"] for features in parts for p in parts[features].values()]
    found["shipped coverage range"] = f"{min(coverages):.0%} to {max(coverages):.0%}"
    return found


def of_federated(found: list[dict[str, Any]]) -> dict[str, str]:
    """Return what benchmarks/federated.py measured."""
    lines = ["| strategy | mean | lowest | highest |", "|---|---|---|---|"]
    for one in found:
        ends = one["accuracies"]
        cells = (sum(ends) / len(ends), min(ends), max(ends))
        lines.append(f"| {one['strategy']} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")
    shares = {
        f"federated left out, {kind} by {one['strategy']}": f"{share:.0%}"
        for one in found
        for kind, share in one["left_out"].items()
    }
    return {"federated strategies": "\n".join(lines), **shares}


def of_costs(found: list[dict[str, Any]]) -> dict[str, str]:
    """Return what benchmarks/estimate_cost.py measured."""
    head = (
        *("network", "weights", "sum", "describe", "over the sum (range)", "before"),
        *("callback", "of a validation pass", "WeightWatcher over describe"),
        *("extra memory", "largest tensor"),
    )
    before = {one["network"]: one["describe_over_sum"] for one in found if "before" in one}
    lines = []
    for one in (one for one in found if "before" not in one):
        low, high = one["describe_over_sum_range"]
        lines.append(
            [
                one["network"],
                f"{one['parameters']:,}",
                f"{one['sum_ms']:.2f} ms",
                f"{one['describe_ms']:.1f} ms",
                f"{one['describe_over_sum']:.1f} ({low:.1f} to {high:.1f})",
                f"{before[one['network']]:.1f}",
                f"{one['callback_ms']:.1f} ms",
                f"{one['callback_over_validation']:.3%}",
                f"{one['weightwatcher_over_describe']:.0f}",
                f"{one['extra_memory_mb']:.1f} MB",
                f"{one['largest_layer_mb']:.2f} MB",
            ]
        )
    texts = {f"cost {line[0]}": line[4] for line in lines}
    texts |= {f"cost WeightWatcher {line[0]}": line[8] for line in lines}
    return {"cost": markdown_table(head, lines), **texts}


def everything() -> dict[str, str]:
    """Return all tables and numbers by the names of their marks."""
    quality, stopping, on_new_data = (
        measured("quality"),
        measured("early_stopping"),
        measured("unseen"),
    )
    retraining, curve = measured("retraining"), measured("task_curve")
    search = measured("search")
    cards = {
        features: load_predictor(features=features).card_ for features in shipped_feature_sets()
    }
    return {
        **unseen.blocks(on_new_data),
        **unseen.numbers(on_new_data),
        "goals": goals.as_markdown(goals.goals(on_new_data, search, cards, quality, retraining)),
        **searching.blocks(search),
        **searching.numbers(search),
        "fits": fits.as_markdown(measured("fits")),
        "tasks curve": task_curve.as_markdown(curve),
        **task_curve.numbers(curve),
        **study.blocks(quality),
        **study.numbers(quality),
        **replay.blocks(stopping, measured("forecast")),
        **replay.numbers(stopping),
        **of_federated(measured("federated")),
        "retraining ways": as_markdown(retraining),
        **of_costs(measured("estimate_cost")),
        **of_cards(cards),
    }


def draw_all(folder: Path) -> None:
    """Draw every figure that a measurement has."""
    draw_unseen(measured("unseen"), folder)
    draw_study(measured("quality"), folder)
    task_curve.draw(measured("task_curve"), folder)
    draw_replays(measured("early_stopping"), measured("forecast"), folder)


def main() -> None:
    """Fill the pages in, and draw."""
    fill_pages(everything())
    draw_all(DOCS / "pictures")


if __name__ == "__main__":
    main()
