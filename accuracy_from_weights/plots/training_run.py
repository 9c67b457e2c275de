"""Plots of a training run: the estimate, its interval, and the true accuracy if known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accuracy_from_weights.io.logged_names import DEFAULT_NAME
from accuracy_from_weights.plots.axes import BLUE, ORANGE, finish, new_axes
from accuracy_from_weights.plots.run_log import check_estimates, columns_of, runs_of
from accuracy_from_weights.plots.sweep import plot_sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_log(
    log: Mapping[str, Sequence[float]],
    name: str = DEFAULT_NAME,
    *,
    epochs: ArrayLike | None = None,
    true_accuracy: ArrayLike | None = None,
    chosen_epoch: float | None = None,
    title: str | None = None,
    label: str = "estimate",
    colour: str = BLUE,
    ax: Axes | None = None,
    path: str | Path | None = None,
) -> Axes:
    """Draw what a callback has logged, such as Keras' ``History.history``.

    Parameters
    ----------
    log : mapping of str to sequence of float
        Holds ``name`` and the same with ``_low``, ``_high`` and ``_in_family`` behind it.
    name : str
        The callback's. Defaults to ``"accuracy_from_weights"``.
    epochs : array_like of shape (n,), optional
        Defaults to 1, 2, 3 and so on.
    true_accuracy : array_like of shape (n,), optional
        Measured accuracies, fractions in [0, 1]; NaN where unknown.
    chosen_epoch : float, optional
        Epoch to mark as the one whose weights were kept.
    title : str, optional
    label : str
        Name of the estimate in the legend.
    colour : str
        Of the estimate, as matplotlib understands it. Defaults to blue.
    ax : matplotlib.axes.Axes, optional
        Where to draw, so that several predictors can share axes. Defaults to a new figure.
    path : str or Path, optional
        File to save the figure to; its suffix decides the format.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were drawn on.

    Raises
    ------
    MissingDependencyError
        When matplotlib is not installed.
    ValueError
        When there is nothing to draw, or the lengths differ.
    """
    keys = check_estimates(log, name)
    accuracy, low, high, family = (np.asarray(log[key], dtype=np.float64) for key in keys)
    x = np.arange(1.0, accuracy.size + 1) if epochs is None else np.asarray(epochs, np.float64)
    truth = None if true_accuracy is None else np.asarray(true_accuracy, dtype=np.float64)
    if accuracy.size == 0 or any(a is not None and a.shape != accuracy.shape for a in (x, truth)):
        raise ValueError(
            f"There are {accuracy.size} estimates and {x.size} epochs"
            + ("." if truth is None else f", {truth.size} true accuracies.")
            + " Pass the same number of each, at least one."
        )
    axes = new_axes() if ax is None else ax
    axes.fill_between(x, low, high, color=colour, alpha=0.22, linewidth=0, label="its interval")
    axes.plot(x, accuracy, color=colour, linewidth=2, label=label, zorder=3)
    _mark(axes, x, accuracy, family > 0.5, colour)
    if truth is not None:
        axes.plot(
            x,
            truth,
            color=ORANGE,
            linewidth=2,
            linestyle=(0, (4, 1.5)),
            marker="s",
            markersize=4,
            label="true accuracy on held-out data",
            zorder=5,
        )
    if chosen_epoch is not None:
        _mark_chosen(axes, chosen_epoch)
    finish(axes, title, path)
    return axes


def plot_history(
    history: Any, name: str = DEFAULT_NAME, *, truth: str | None = None, **options: Any
) -> Axes:
    """Draw estimate and interval over the epochs of a run, or of a sweep, from any kind of log.

    Parameters
    ----------
    history : mapping, sequence of mappings, str or Path
        Keras' ``History`` or its ``.history``; a list of what `Monitor.update` gave; or the path of
        a CSV file with a header, as Lightning's and Keras' CSV loggers write them. For a sweep,
        several of these: a dict by name, or a list. A run that ended before the longest one is
        marked as stopped.
    name : str
        The callback's. Defaults to ``"accuracy_from_weights"``.
    truth : str, optional
        Column with the accuracy on validation data, where the run measured one. Defaults to none.
    **options
        As in `plot_log`: ``title``, ``path``, ``ax``, ``epochs`` and so on; for a sweep the first
        three. Epochs come from the column ``epoch`` where there is one; else they are 1, 2, 3 and
        so on.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were drawn on.

    Raises
    ------
    MissingDependencyError
        When matplotlib is not installed.
    ValueError
        When the history holds no such columns, or no estimate.
    OSError
        When the file cannot be read.

    Examples
    --------
    >>> axes = plot_history(
    ...     [{"accuracy_from_weights": 0.5, "accuracy_from_weights_low": 0.4,
    ...       "accuracy_from_weights_high": 0.6, "accuracy_from_weights_in_family": 1.0}]
    ... )
    >>> axes.get_ylabel()
    'accuracy'
    """
    runs = runs_of(history)
    if runs is not None:
        return plot_sweep(runs, name, truth=truth, **options)
    columns = columns_of(history, name, truth)
    if "epoch" in columns:
        options.setdefault("epochs", columns["epoch"])
    if truth is not None:
        if truth not in columns:
            raise ValueError(f"The history has no column {truth!r}; it has {', '.join(columns)}.")
        options.setdefault("true_accuracy", columns[truth])
    return plot_log(columns, name, **options)


def _mark(
    axes: Axes,
    x: NDArray[np.float64],
    accuracy: NDArray[np.float64],
    in_family: NDArray[np.bool_],
    colour: str,
) -> None:
    """Draw full dots for networks in the family and hollow dots for the others."""
    for rows, face, name in (
        (in_family, colour, None),
        (~in_family, axes.get_facecolor(), "outside the known family"),
    ):
        if rows.any():
            axes.plot(
                x[rows],
                accuracy[rows],
                linestyle="none",
                marker="o",
                markersize=5,
                markeredgecolor=colour,
                markerfacecolor=face,
                label=name,
                zorder=4,
            )


def _mark_chosen(axes: Axes, epoch: float) -> None:
    axes.axvline(epoch, color="0.5", linewidth=1.2, linestyle=":", zorder=1)
    axes.annotate(
        "weights kept",
        (epoch, 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(-3, 0),
        textcoords="offset points",
        rotation=90,
        ha="right",
        va="bottom",
        color="0.5",
        fontsize="small",
    )
