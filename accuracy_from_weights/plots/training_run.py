"""Plots of a training run: the estimate, its interval, and the true accuracy if known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accuracy_from_weights.errors import MissingDependencyError
from accuracy_from_weights.io.logged_names import DEFAULT_NAME, SUFFIXES
from accuracy_from_weights.plots.run_log import columns_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of Okabe and Ito (2008), which most colour-blind eyes tell apart.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"


def plot_log(
    log: Mapping[str, Sequence[float]],
    name: str = DEFAULT_NAME,
    *,
    epochs: ArrayLike | None = None,
    true_accuracy: ArrayLike | None = None,
    chosen_epoch: float | None = None,
    title: str | None = None,
    label: str = "estimate from the weights",
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
    keys = tuple(name + suffix for suffix in SUFFIXES)
    missing = [key for key in keys if key not in log]
    if missing:
        raise ValueError(
            f"The log lacks {', '.join(missing)}; it has {', '.join(log) or 'no columns'}."
        )
    accuracy, low, high, family = (np.asarray(log[key], dtype=np.float64) for key in keys)
    x = np.arange(1.0, accuracy.size + 1) if epochs is None else np.asarray(epochs, np.float64)
    truth = None if true_accuracy is None else np.asarray(true_accuracy, dtype=np.float64)
    if accuracy.size == 0 or any(a is not None and a.shape != accuracy.shape for a in (x, truth)):
        raise ValueError(
            f"There are {accuracy.size} estimates and {x.size} epochs"
            + ("." if truth is None else f", {truth.size} true accuracies.")
        )
    axes = _new_axes() if ax is None else ax
    axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0, label="its interval")
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
    _dress(axes, title)
    if path is not None:
        figure: Any = axes.figure.figure  # of a subfigure, the figure that it is part of
        figure.savefig(path, dpi=150)
    return axes


def plot_history(
    history: Any, name: str = DEFAULT_NAME, *, truth: str | None = None, **options: Any
) -> Axes:
    """Draw estimate and interval over the epochs of a run, from any kind of log.

    Parameters
    ----------
    history : mapping, sequence of mappings, str or Path
        Keras' ``History`` or its ``.history``; a list of what `Monitor.update` gave; or the path of
        a CSV file with a header, as Lightning's and Keras' CSV loggers write them.
    name : str
        The callback's. Defaults to ``"accuracy_from_weights"``.
    truth : str, optional
        Column with the accuracy on validation data, where the run measured one. Defaults to none.
    **options
        As in `plot_log`: ``title``, ``path``, ``ax``, ``epochs`` and so on. Epochs come from the
        column ``epoch`` where there is one; else they are 1, 2, 3 and so on.

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
    columns = columns_of(history, name, truth)
    if "epoch" in columns:
        options.setdefault("epochs", columns["epoch"])
    if truth is not None:
        if truth not in columns:
            raise ValueError(f"The history has no column {truth!r}; it has {', '.join(columns)}.")
        options.setdefault("true_accuracy", columns[truth])
    return plot_log(columns, name, **options)


def require_matplotlib() -> None:
    """Raise `MissingDependencyError` unless matplotlib is installed.

    Raises
    ------
    MissingDependencyError
        When matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401 - whether it can be imported is the question
    except ImportError as error:
        raise MissingDependencyError(
            f"Plots need matplotlib, which cannot be imported ({error}). Install it with: "
            "pip install 'accuracy-from-weights[plot]'"
        ) from error


def _new_axes() -> Axes:
    """Return axes of a figure that pyplot does not manage."""
    require_matplotlib()
    from matplotlib.figure import Figure

    axes: Axes = Figure(figsize=(7.5, 4.2), layout="constrained").add_subplot()
    return axes


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
        (~in_family, "white", "outside the known family"),
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
    axes.axvline(epoch, color="0.35", linewidth=1.2, linestyle=":", zorder=1)
    axes.annotate(
        "weights kept",
        (epoch, 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(-3, 0),
        textcoords="offset points",
        rotation=90,
        ha="right",
        va="bottom",
        color="0.35",
        fontsize="small",
    )


def _dress(axes: Axes, title: str | None) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.02)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")
    if title is not None:
        axes.set_title(title, loc="left", fontsize="medium", fontweight="bold")
