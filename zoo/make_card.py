"""Draw the pictures of the zoo's card and write its counts.

    python zoo/make_card.py

Reads zoo/table.npz; writes zoo/pictures/*.png and what is between marks in zoo/README.md and in
docs/universe.md. Needs the extra plot.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

from page_marks import DOCS, filled

from accuracy_from_weights.plots.axes import BLUE, GREEN, ORANGE
from accuracy_from_weights.predictor.folds import last_rows
from accuracy_from_weights.zoo.recipes.universe import dataset_name
from accuracy_from_weights.zoo.table import ZooTable

FOLDER = Path(__file__).parent
PAGES = (FOLDER / "README.md", DOCS / "universe.md")
PARTS = {
    "universe": ("universe", True, range(200)),
    "universe, easier": ("universe", True, range(200, 300)),
    "universe, easiest": ("universe", True, range(300, 400)),
    "paper, universe": ("paper", True, range(100)),
    "paper, real": ("paper", False, range(100)),
    "wild, real": ("wild", False, range(100)),
}
"""Of each part the recipe, whether its tasks are those of the universe, and the seeds."""
KINDS = {
    "image": "images",
    "table": "tables",
    "tokens": "token sequences",
    "signal": "signals",
}
CHANCE_MARGIN = 0.05
"""Within so much of guessing a network counts as being at chance, in units of accuracy."""


class Runs:
    """Some runs of a zoo.

    Attributes
    ----------
    table : ZooTable
        All their checkpoints.
    last : ZooTable
        The last checkpoint of each run.
    """

    def __init__(self, table: ZooTable) -> None:
        self.table = table
        self.last = table.subset(last_rows(table.runs, table.steps))

    def __len__(self) -> int:
        return len(self.last)

    def of(self, name: str, value: str) -> Runs:
        """Return the runs in whose recipe the entry of this name is the value."""
        return Runs(self.table.subset(self.table.hyperparameters[name] == value))

    def part(self, name: str) -> Runs:
        """Return the runs of one of the parts."""
        family, generated, seeds = PARTS[name]
        chosen = self.table.hyperparameters["family"] == family
        chosen &= _is_generated(self.table) == generated
        return Runs(self.table.subset(chosen & np.isin(_seeds(self.table), seeds)))

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(np.unique(self.table.tasks))

    @property
    def n_answered(self) -> int:
        """Number of runs with answers on a training sample."""
        return len(np.unique(self.table.runs[_is_answered(self.table)]))

    @property
    def gap(self) -> NDArray[np.float64]:
        """Training accuracy, evaluated after the training, minus test accuracy."""
        return self.last.train_accuracy - self.last.accuracy

    @property
    def at_chance(self) -> NDArray[np.bool_]:
        """Which networks guess."""
        return self.last.accuracy < 1 / self.last.hyperparameters["n_classes"] + CHANCE_MARGIN

    @property
    def above_chance(self) -> NDArray[np.float64]:
        """Accuracy above chance at the end of each run: 0 is guessing, 1 is perfection."""
        chance = 1 / self.last.hyperparameters["n_classes"]
        return (self.last.accuracy - chance) / (1 - chance)

    @property
    def best_of_tasks(self) -> NDArray[np.float64]:
        """The best accuracy above chance on each task."""
        _, task = np.unique(self.last.tasks, return_inverse=True)
        best = np.full(self.n_tasks, -np.inf)
        np.maximum.at(best, task, self.above_chance)
        return best


def _is_answered(table: ZooTable) -> NDArray[np.bool_]:
    if table.sample is None:
        return np.zeros(len(table), bool)
    return np.isfinite(table.sample).all(axis=1)


def _is_generated(table: ZooTable) -> NDArray[np.bool_]:
    return np.char.startswith(table.tasks, dataset_name(""))


def _seeds(table: ZooTable) -> NDArray[np.int64]:
    """Return the seed of each checkpoint's zoo; runs are named TASK/RECIPE-SEED/NUMBER."""
    return np.array([int(re.findall(r"-(\d+)/\d+$", run)[0]) for run in table.runs])


def _markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parts(all_runs: Runs) -> str:
    """Lay out each part as Markdown, in two rows where some seeds lack answers on a sample."""
    rows = []
    for name in PARTS:
        table = all_runs.part(name).table
        seeds = _seeds(table)
        answered = np.isin(seeds, seeds[_is_answered(table)])
        for chosen in (answered, ~answered):
            if chosen.any():
                of = np.unique(seeds[chosen])
                rows.append([name, _range(of), *_sizes(Runs(table.subset(chosen)))])
    rows.append(["all", "", *_sizes(all_runs)])
    head = ["part", "seeds", "tasks", "networks", "checkpoints", "networks with answers"]
    return _markdown(head, rows)


def _range(numbers: NDArray[np.int64]) -> str:
    least, most = f"{numbers.min():,}", f"{numbers.max():,}"
    return least if least == most else f"{least} to {most}"


def _sizes(runs: Runs) -> list[str]:
    sizes = runs.n_tasks, len(runs), len(runs.table), runs.n_answered
    return [f"{size:,}" for size in sizes]


def counts(all_runs: Runs) -> str:
    """Lay out the counts of networks as Markdown."""
    columns = [all_runs.part(name) for name in PARTS]

    def numbers(entry: str, value: str) -> list[str]:
        found = [(runs.last.hyperparameters[entry] == value).sum() for runs in columns]
        return [f"{number:,}" if number else "-" for number in found]

    rows = [["networks", *(f"{len(runs):,}" for runs in columns)]]
    rows += [[f"on {plural}", *numbers("input_kind", kind)] for kind, plural in KINDS.items()]
    for entry in ("dataset", "dnn_architecture", "regime"):
        values = np.unique(all_runs.last.hyperparameters[entry])
        shown = [str(value) for value in values if value and not value.startswith(dataset_name(""))]
        word = "on " if entry == "dataset" else ""
        rows += [[f"{word}{value}", *numbers(entry, value)] for value in shown]
    for entry, name in (("n_classes", "classes"), ("n_train", "training examples")):
        values = [runs.last.hyperparameters[entry].astype(int) for runs in columns]
        rows.append([name, *map(_range, values)])
    shares = {
        "median test accuracy at the end": [np.median(runs.last.accuracy) for runs in columns],
        "training accuracy 10 points or more above test accuracy at the end": [
            (runs.gap >= 0.1).mean() for runs in columns
        ],
        f"at the end less than {100 * CHANCE_MARGIN:.0f} points above guessing": [
            runs.at_chance.mean() for runs in columns
        ],
    }
    rows += [[text, *(f"{share:.1%}" for share in row)] for text, row in shares.items()]
    return _markdown(["", *PARTS], rows)


def difficulty(all_runs: Runs) -> str:
    """Lay out how many networks end in each tenth of the accuracy above chance, as Markdown."""
    universe = all_runs.of("family", "universe")
    good = universe.of("regime", "good")
    rows = [["**universe, good networks**", *_tenths(good.above_chance)]]
    best = [["**universe, best network of each task**", *_tenths(universe.best_of_tasks)]]
    for kind, plural in KINDS.items():
        rows.append([plural, *_tenths(good.of("input_kind", kind).above_chance)])
        best.append([plural, *_tenths(universe.of("input_kind", kind).best_of_tasks)])
    wild = all_runs.part("wild, real").of("regime", "good")
    rest = [
        [f"**{name}, all networks**", *_tenths(all_runs.part(name).above_chance)]
        for name in ("paper, universe", "paper, real")
    ]
    rest.append(["**wild, real, good networks**", *_tenths(wild.above_chance)])
    return _markdown(["", "number", "by tenths", "median"], rows + best + rest)


def _tenths(skills: NDArray[np.float64]) -> list[str]:
    edges = np.linspace(0, 1, 11)
    found = np.histogram(np.clip(skills, 0, np.nextafter(1, 0)), edges)[0]
    median = f"{np.median(skills):.2f}".removeprefix("0")
    return [f"{len(skills):,}", " ".join(map(str, found)), median]


def made(table: ZooTable) -> dict[str, str]:
    """Return everything that stands between the marks."""
    runs = Runs(table)
    generated = Runs(table.subset(_is_generated(table)))
    is_hard = runs.of("family", "universe").of("regime", "good").above_chance < 0.1
    return {
        "zoo parts": parts(runs),
        "zoo counts": counts(runs),
        "zoo difficulty": difficulty(runs),
        "zoo networks": f"{len(generated):,}",
        "zoo tasks": f"{generated.n_tasks:,}",
        "zoo all networks": f"{len(runs):,}",
        "zoo answered networks": f"{runs.n_answered:,}",
        "zoo lowest tenth": f"{is_hard.mean():.0%}",
    }


def draw_accuracies(universe: Runs, real: Runs) -> Figure:
    """Histograms of the accuracies above chance that were reached."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    datasets = np.unique(real.last.datasets)
    axes = figure.subplots(2, len(datasets), sharex=True)
    colours = {"universe, good": BLUE, "universe, bad": "0.75", "paper": ORANGE, "wild": GREEN}
    for row, runs, column, values in (
        (axes[0], universe, "input_kind", KINDS),
        (axes[1], real, "dataset", datasets),
    ):
        for axis, value in zip(row, values, strict=False):
            part = runs.of(column, value)
            family, regime = (part.last.hyperparameters[name] for name in ("family", "regime"))
            kinds = np.where(regime == "good", "universe, good", "universe, bad")
            kinds = np.where(family == "universe", kinds, family)
            skills = [part.above_chance[kinds == kind] for kind in colours]
            axis.hist(skills, np.linspace(0, 1, 11), stacked=True, color=colours.values())
            axis.set_title(KINDS.get(value, value), fontsize="small")
            axis.spines[["top", "right"]].set_visible(False)
        for axis in row[len(values) :]:
            axis.set_axis_off()
        row[0].set_ylabel("networks")
    patches = [Patch(color=colour, label=kind) for kind, colour in colours.items()]
    figure.legend(handles=patches, loc="outside upper center", ncols=len(patches), frameon=False)
    figure.supxlabel("accuracy above chance at the last checkpoint", fontsize="medium")
    return figure


def draw_gaps(universe: Runs, real: Runs) -> Figure:
    """Training against test accuracy at the end of each run."""
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, title, runs, colour in zip(
        axes, ("universe", "real data sets"), (universe, real), (BLUE, ORANGE), strict=True
    ):
        axis.plot([0, 1], [0, 1], color="grey", linewidth=1)
        axis.scatter(
            runs.last.train_accuracy, runs.last.accuracy, s=4, alpha=0.3, color=colour, linewidth=0
        )
        axis.set(title=title, xlabel="training accuracy at the end", xlim=(0, 1.01), ylim=(0, 1.01))
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_aspect("equal")
    axes[0].set_ylabel("test accuracy at the end")
    return figure


def draw_recipes(universe: Runs, real: Runs) -> Figure:
    """Distributions of hyperparameters drawn."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots(2, 3)
    shown = {
        "n_classes": "classes",
        "n_train": "training examples",
        "label_noise": "random labels (a share)",
        "num_layers": "layers",
        "num_units": "width",
        "learning_rate": "learning rate",
    }
    for axis, (entry, title) in zip(axes.flat, shown.items(), strict=True):
        both = [np.asarray(runs.last.hyperparameters[entry], float) for runs in (universe, real)]
        least, most = (find([find(values) for values in both]) for find in (min, max))
        if entry == "num_layers":
            bins = np.arange(least - 0.5, most + 1)
        elif entry == "label_noise":
            bins = np.linspace(least, most, 21)
        else:
            bins = np.geomspace(least, most, 25)
            axis.set_xscale("log")
        axis.hist(both, bins, stacked=True, color=(BLUE, ORANGE), label=("universe", "real"))
        axis.set_title(title, fontsize="medium")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 2].legend(frameon=False)
    for axis in axes[:, 0]:
        axis.set_ylabel("networks")
    return figure


def main() -> None:
    """Draw, count, write."""
    table = ZooTable.load(FOLDER / "table.npz")
    universe, real = (Runs(table.subset(_is_generated(table) == is_it)) for is_it in (True, False))
    pictures = FOLDER / "pictures"
    pictures.mkdir(exist_ok=True)
    for name, draw in (
        ("accuracies", draw_accuracies),
        ("training_and_test", draw_gaps),
        ("recipes", draw_recipes),
    ):
        draw(universe, real).savefig(pictures / f"{name}.png", dpi=150)
    found = made(table)
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
