"""The report's figures as inline SVG: scatter plot, calibration, errors by band, importances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.evaluation.bands import Band
from accuracy_from_weights.evaluation.inspection import Importance, Inspection
from accuracy_from_weights.evaluation.interval_coverage import Coverage
from accuracy_from_weights.evaluation.report.svg import INK, RULE, as_svg, new_axes
from accuracy_from_weights.plots.axes import BLUE, ORANGE

_MOST_DOTS = 20_000


def scatter(found: Inspection, final: NDArray[np.bool_]) -> str:
    """Draw estimates against true accuracies; `final`, (n,), marks the last of each run."""
    axes = new_axes(4.3)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, zorder=2)
    rows = np.random.default_rng(0).permutation(len(found.truth))[:_MOST_DOTS]
    kinds: tuple[tuple[str, NDArray[np.bool_], dict[str, Any]], ...] = (
        ("earlier checkpoints", ~final & found.in_family, {"c": BLUE, "alpha": 0.3, "s": 7}),
        ("final checkpoints", final & found.in_family, {"c": BLUE, "s": 14}),
        (
            "outside the family",
            ~found.in_family,
            {"facecolors": "none", "edgecolors": ORANGE, "s": 16, "linewidths": 0.9},
        ),
    )
    for label, kind, style in kinds:
        chosen = rows[kind[rows]]
        if chosen.size:
            dots: dict[str, Any] = {"linewidths": 0, **style}
            # Thousands of dots as elements would make the page heavy: they become one image.
            axes.scatter(
                found.truth[chosen],
                found.predicted[chosen],
                rasterized=True,
                label=label,
                zorder=3,
                **dots,
            )
    _percent(axes, "x")
    _percent(axes, "y")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set(xlabel="true accuracy on test images", ylabel="estimate")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", handletextpad=0.2)
    error = np.mean(np.abs(found.errors))
    off = np.mean(np.abs(found.errors) > 0.1)
    return as_svg(
        axes,
        f"{found.dataset}, scatter plot of the estimate against the true accuracy of "
        f"{len(found.truth)} networks. They lie around the diagonal, on average "
        f"{100 * error:.1f} percentage points from it; {off:.0%} are off by more than 10.",
    )


def calibration(name: str, coverages: Sequence[Coverage]) -> str:
    """Draw measured against stated coverage on a data set."""
    axes = new_axes(4.3)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, zorder=2)
    stated, measured, low, high = np.array(
        [(c.stated, c.measured, c.low, c.high) for c in coverages]
    ).T
    axes.errorbar(
        stated,
        measured,
        yerr=(np.maximum(measured - low, 0), np.maximum(high - measured, 0)),
        color=BLUE,
        ecolor=BLUE,
        marker="o",
        markersize=5,
        linewidth=1.5,
        capsize=3,
        zorder=3,
    )
    bottom = max(0.0, np.floor(10 * min(stated.min(), low.min()) - 0.5) / 10)
    _percent(axes, "x")
    _percent(axes, "y")
    top = 1.015  # so that a dot at 100% is whole
    axes.set(xlim=(bottom, top), ylim=(bottom, top), aspect="equal")
    axes.set(xlabel="coverage that the interval states", ylabel="truths that it held")
    pairs = ", ".join(f"{c.stated:.0%} held {c.measured:.1%}" for c in coverages)
    return as_svg(
        axes,
        f"{name}, measured against stated coverage of the intervals: {pairs}.",
    )


def error_bands(name: str, bands: Sequence[Band], axis: str) -> str:
    """Draw the signed errors of each band as a median, a middle half and a middle nine tenths."""
    axes = new_axes(3.4)
    x = np.arange(len(bands))
    lowest, lower, median, upper, highest = 100 * np.array([band.quantiles for band in bands]).T
    axes.axhline(0, color=INK, linewidth=0.8, zorder=2)
    axes.vlines(x, lowest, highest, color=BLUE, linewidth=1.5, zorder=3)
    axes.vlines(x, lower, upper, color=BLUE, linewidth=7, zorder=3)
    axes.plot(
        x,
        median,
        linestyle="none",
        marker="_",
        markersize=13,
        color=ORANGE,
        zorder=4,
        markeredgewidth=2.5,
    )
    axes.set_xticks(x, [band.label for band in bands])
    if sum(len(band.label) for band in bands) > 40:
        axes.tick_params(axis="x", labelrotation=45, labelsize=8)
    axes.grid(axis="x", visible=False)
    axes.set(xlabel=axis, ylabel="estimate minus truth (points)")
    axes.margins(x=0.04)
    words = ", ".join(
        f"{band.label}: median {100 * band.quantiles[2]:+.1f}, mean absolute error "
        f"{100 * band.mean_absolute_error:.1f}"
        for band in bands
    )
    return as_svg(axes, f"{name}, errors in percentage points by {axis}: {words}.")


def importances(name: str, groups: Sequence[Importance]) -> str:
    """Draw how much worse the estimates become without each group of features."""
    axes = new_axes(0.9 + 0.3 * len(groups))
    y = np.arange(len(groups))
    increase, low, high = 100 * np.array([(g.increase, g.lowest, g.highest) for g in groups]).T
    axes.barh(y, increase, height=0.62, color=BLUE, zorder=2)
    axes.hlines(y, low, high, color=INK, linewidth=1.2, zorder=3)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=3)
    axes.set_yticks(y, [group.name for group in groups])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=RULE)
    axes.set_xlabel("rise of the error (points)")
    words = ", ".join(f"{g.name} {100 * g.increase:.1f}" for g in groups)
    return as_svg(
        axes,
        f"{name}, rise of the mean absolute error in percentage points when a group of features "
        f"is shuffled: {words}.",
    )


def _percent(axes: object, which: str) -> None:
    axis = getattr(axes, f"{which}axis")
    axis.set_major_formatter(lambda value, _: f"{value:.0%}")
