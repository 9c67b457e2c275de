"""Draw the pictures of the zoo's card and put its counts into the card.

    python zoo/make_card.py

Reads zoo/table.npz; writes zoo/pictures/*.png and the table between the marks in zoo/README.md.
Needs the extra plot.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from accuracy_from_weights.plots.axes import BLUE, ORANGE
from accuracy_from_weights.predictor.folds import last_rows
from accuracy_from_weights.zoo.table import ZooTable

FOLDER = Path(__file__).parent
BEGIN, END = "<!-- counts -->\n", "<!-- end of counts -->"
CHANCE_MARGIN = 0.05
"""Within so much of guessing a network counts as being at chance, in units of accuracy."""


class Runs:
    """The last checkpoint of each run of one recipe."""

    def __init__(self, table: ZooTable, wild: bool) -> None:
        part = table.subset((table.hyperparameters["family"] == "wild") == wild)
        self.n_checkpoints = len(part)
        self.last = part.subset(last_rows(part.runs, part.steps))
        _, counts = np.unique(part.runs, return_counts=True)
        self.fewest, self.most = int(counts.min()), int(counts.max())

    @property
    def gap(self) -> NDArray[np.float64]:
        """Training accuracy, evaluated afterwards, minus test accuracy."""
        return self.last.train_accuracy - self.last.accuracy

    @property
    def at_chance(self) -> NDArray[np.bool_]:
        """Who guesses; the paper's networks all have ten classes."""
        n_classes = self.last.hyperparameters["n_classes"]
        return self.last.accuracy < 1 / np.where(n_classes > 0, n_classes, 10) + CHANCE_MARGIN


def counts(paper: Runs, wild: Runs) -> str:
    """Lay out the counts as Markdown."""
    lines = [
        "| | paper | wild |",
        "|---|---|---|",
        f"| networks that did not diverge at once | {len(paper.last):,} | {len(wild.last):,} |",
        f"| checkpoints of known accuracy | {paper.n_checkpoints:,} | {wild.n_checkpoints:,} |",
        f"| least checkpoints a network | {paper.fewest} | {wild.fewest} |",
        f"| most checkpoints a network | {paper.most} | {wild.most} |",
    ]
    for name in np.unique(paper.last.datasets):
        n = [int((runs.last.datasets == name).sum()) for runs in (paper, wild)]
        lines.append(f"| of them on {name} | {n[0]:,} | {n[1]:,} |")
    for name in np.unique(wild.last.hyperparameters["dnn_architecture"]):
        n_kind = int((wild.last.hyperparameters["dnn_architecture"] == name).sum())
        lines.append(f"| of them {name} | {'all' if name == 'cnn' else '-'} | {n_kind:,} |")

    def row(text: str, share: list[float]) -> str:
        return f"| {text} | {share[0]:.1%} | {share[1]:.1%} |"

    both = (paper, wild)
    lines += [
        row(
            "median test accuracy at the end",
            [float(np.median(r.last.accuracy)) for r in both],
        ),
        row(
            "training accuracy 10 points or more above test accuracy at the end",
            [float((r.gap >= 0.1).mean()) for r in both],
        ),
        row(
            f"at the end within {CHANCE_MARGIN:.0%} of guessing or below",
            [float(r.at_chance.mean()) for r in both],
        ),
    ]
    return "\n".join(lines) + "\n"


def draw_accuracies(paper: Runs, wild: Runs) -> Figure:
    """Histograms of the accuracies reached, by data set."""
    names = np.unique(paper.last.datasets)
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    axes = figure.subplots(2, len(names), sharex=True, sharey="row")
    for row, (label, runs, colour) in enumerate((("paper", paper, BLUE), ("wild", wild, ORANGE))):
        for axis, name in zip(axes[row], names, strict=True):
            reached = runs.last.accuracy[runs.last.datasets == name]
            axis.hist(reached, bins=np.linspace(0, 1, 21), color=colour)
            axis.spines[["top", "right"]].set_visible(False)
            if row == 0:
                axis.set_title(name)
        axes[row][0].set_ylabel(f"{label} networks")
    figure.supxlabel("test accuracy at the last checkpoint", fontsize="medium")
    return figure


def draw_gaps(paper: Runs, wild: Runs) -> Figure:
    """Training against test accuracy at the end of each run."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    for axis, (label, runs, colour) in zip(
        figure.subplots(1, 2, sharey=True),
        (("paper", paper, BLUE), ("wild", wild, ORANGE)),
        strict=True,
    ):
        axis.plot([0, 1], [0, 1], color="grey", linewidth=1)
        axis.scatter(
            runs.last.train_accuracy, runs.last.accuracy, s=6, alpha=0.4, color=colour, linewidth=0
        )
        axis.set(title=label, xlabel="training accuracy, evaluated after training", xlim=(0, 1.01))
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_aspect("equal")
        axis.set_ylim(0, 1.01)
    figure.axes[0].set_ylabel("test accuracy")
    return figure


def draw_recipes(paper: Runs, wild: Runs) -> Figure:
    """Distributions of hyperparameters drawn."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots(2, 3)
    shown = (
        (paper, "learning_rate", True),
        (paper, "l2reg", True),
        (paper, "dropout", False),
        (wild, "num_layers", False),
        (wild, "n_train", True),
        (wild, "label_noise", False),
    )
    for axis, (runs, name, logarithmic) in zip(axes.flat, shown, strict=True):
        values = np.asarray(runs.last.hyperparameters[name], float)
        values = values[np.isfinite(values) & ((values > 0) | (not logarithmic))]
        if logarithmic:
            bins = np.geomspace(values.min(), values.max(), 25)
            axis.set_xscale("log")
        elif name == "num_layers":
            bins = np.arange(values.min() - 0.5, values.max() + 1)
        else:
            bins = np.linspace(values.min(), values.max(), 25)
        is_paper = runs is paper
        axis.hist(values, bins=bins, color=BLUE if is_paper else ORANGE)
        axis.set_title(f"{'paper' if is_paper else 'wild'}: {name}", fontsize="medium")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("networks")
    return figure


def main() -> None:
    """Draw, count, write."""
    table = ZooTable.load(FOLDER / "table.npz")
    runs = Runs(table, wild=False), Runs(table, wild=True)
    pictures = FOLDER / "pictures"
    pictures.mkdir(exist_ok=True)
    for name, draw in (
        ("accuracies", draw_accuracies),
        ("training_and_test", draw_gaps),
        ("recipes", draw_recipes),
    ):
        draw(*runs).savefig(pictures / f"{name}.png", dpi=100)
    card = FOLDER / "README.md"
    text = card.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    card.write_text(before + BEGIN + counts(*runs) + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
