"""Plots of a sweep: the estimates of many training runs in one picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accuracy_from_weights.io.logged_names import DEFAULT_NAME
from accuracy_from_weights.plots.axes import BLUE, GREEN, ORANGE, finish, new_axes
from accuracy_from_weights.plots.run_log import check_estimates, columns_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# As many colours as can be told apart, on white and on black. More runs than that share two.
_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#A6761D", "#808080")
_GREY = "#808080"
_DASHED: dict[str, Any] = {"linestyle": (0, (4, 1.5)), "linewidth": 1.5, "zorder": 5}


def plot_sweep(
    runs: Mapping[str, Any],
    name: str = DEFAULT_NAME,
    *,
    truth: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
    path: str | Path | None = None,
) -> Axes:
    """Draw the estimates of many runs, one line each.

    A run that ended before the longest one was stopped, and its line ends in a cross. The run with
    the highest last estimate is drawn thick, with its interval. Up to six runs have a colour and a
    name each, and a dashed line for the true accuracy where `truth` names it; of more runs those
    that went on are blue, the stopped ones grey, and the true accuracy is that of the best run.

    The runs are histories by name, and everything else is as in `plot_history`.
    """
    logs = {run: _log(run, history, name, truth) for run, history in runs.items()}
    if truth is not None and not any(truth in log for log in logs.values()):
        raise ValueError(
            f"No run has a column {truth!r}; the first has {', '.join(next(iter(logs.values())))}."
        )
    epochs: dict[str, Any] = {
        run: log.get("epoch", np.arange(1.0, len(log[name]) + 1)) for run, log in logs.items()
    }
    longest = max(x[-1] for x in epochs.values())
    stopped = {run for run, x in epochs.items() if x[-1] < longest}
    best = max(logs, key=lambda run: logs[run][name][-1])
    few = len(logs) <= len(_COLOURS)
    axes = new_axes() if ax is None else ax
    labels: dict[str, Any] = {}
    for at, (run, log) in enumerate(logs.items()):
        is_stopped, is_best = run in stopped, run == best
        colour = _COLOURS[at] if few else _GREY if is_stopped else BLUE
        (line,) = axes.plot(
            epochs[run],
            log[name],
            color=colour,
            linewidth=2.5 if is_best else 1.3,
            alpha=1.0 if few or is_best else 0.6,
            marker="X" if is_stopped else None,
            markevery=[-1],
            zorder=4 if is_best else 3,
        )
        group = "stopped" if is_stopped else "went on to the end"
        labels.setdefault(f"{run}, {group}" if few else group, line)
        if is_best:
            band = axes.fill_between(
                epochs[run],
                log[f"{name}_low"],
                log[f"{name}_high"],
                color=colour,
                alpha=0.22,
                linewidth=0,
            )
            labels[f"interval of {run}, the best by its estimate"] = band
        if truth is not None and truth in log and (few or is_best):
            axes.plot(epochs[run], log[truth], color=colour if few else ORANGE, **_DASHED)
    if truth is not None:
        (labels["true accuracy on held-out data"],) = axes.plot(
            [], color=_GREY if few else ORANGE, **_DASHED
        )
    finish(axes, title, path, labels)
    return axes


def _log(run: str, history: Any, name: str, truth: str | None) -> dict[str, list[float]]:
    try:
        log = columns_of(history, name, truth)
        check_estimates(log, name)
    except ValueError as error:
        raise ValueError(f"Run {run!r}: {error}") from error
    return log
