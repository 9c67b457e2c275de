"""The figure of what estimates are worth on data that no zoo holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.quality_study.columns import LOGGED, OURS
from benchmarks.quality_study.picture import COLOURS, LABELS, OTHER, new_figure
from benchmarks.unseen.judging import MEAN
from benchmarks.unseen.report import CONFIDENT, TRAINING, WRONG, new_part, reported

_GROUPS = {
    MEAN: "all networks",
    CONFIDENT: "training accuracy\nabove 95%",
    WRONG: "wrong labels\nin training",
}


def draw_all(results: dict[str, Any], folder: Path) -> None:
    """Draw the mean absolute errors of the predictors beside those of training accuracy."""
    folder.mkdir(parents=True, exist_ok=True)
    part = new_part(results)
    verdicts = list(reported(part))
    bars: dict[str, list[tuple[float, ...]]] = {}
    for word in TRAINING.values():
        bars[f"training accuracy, {word}"] = [
            (verdicts[0]["groups"][group][f"{word}_error"],) for group in _GROUPS
        ]
    for verdict in verdicts:
        scores = [verdict["groups"][group] for group in _GROUPS]
        ends = [(one["error"], one["error_low"], one["error_high"]) for one in scores]
        bars[OURS.get(verdict["predictor"], verdict["predictor"])] = ends
    colours = dict(zip(bars, (COLOURS[LOGGED], "#777777"), strict=False)) | COLOURS
    figure, axes = new_figure(4.2)
    for k, (name, values) in enumerate(bars.items()):
        places = [group * (len(bars) + 1) + k for group in range(len(_GROUPS))]
        label = LABELS.get(name, name)
        axes.barh(places, [v[0] for v in values], color=colours.get(name, OTHER), label=label)
        for place, (_, *ends) in zip(places, values, strict=True):
            axes.plot(ends, [place] * len(ends), color="black", linewidth=1)
    middles = [k * (len(bars) + 1) + (len(bars) - 1) / 2 for k in range(len(_GROUPS))]
    axes.set_yticks(middles, list(_GROUPS.values()))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("mean absolute error, points (lines: 95% intervals)")
    figure.legend(loc="outside upper center", ncols=2, fontsize="x-small", frameon=False)
    figure.savefig(folder / "unseen.png", dpi=160)
