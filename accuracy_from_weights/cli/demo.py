"""``demo``: a network trains in a minute, with the estimate beside its true accuracy."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from accuracy_from_weights.cli.options import jobs_option, predictor_option, seed_option
from accuracy_from_weights.cli.progress import progress_bar
from accuracy_from_weights.io.logged_names import DEFAULT_NAME

if TYPE_CHECKING:
    from accuracy_from_weights.cli.demo_training import EpochSeen, Watched
    from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
    from accuracy_from_weights.zoo_training.training import ImageData

_RETRAINED = "retrained"


@click.command()
@click.option(
    "--full",
    is_flag=True,
    help="Also build a small zoo on digits, retrain on it, and show both predictors.",
)
@click.option(
    "--networks",
    type=click.IntRange(min=20),
    default=100,
    show_default=True,
    help="Networks of the zoo that --full builds.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="Epochs to train for at most.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default="accuracy-from-weights-demo.png",
    show_default=True,
    help="The picture.",
)
@predictor_option
@jobs_option
@seed_option
def command(
    full: bool,
    networks: int,
    epochs: int,
    output: Path,
    predictor_file: Path | None,
    jobs: int,
    seed: int,
) -> None:
    """Train a small network on scikit-learn's digits and watch the estimate beside the truth.

    Training stops early on the estimate, which no data but the training images went into. The
    true accuracy is measured on held-out images, to be shown beside it and for nothing else.

    \b
    Examples:
      accuracy-from-weights demo
      accuracy-from-weights demo --full --networks 200 --output demo.png
    """
    from accuracy_from_weights import load_predictor
    from accuracy_from_weights.cli import demo_training as demo
    from accuracy_from_weights.features.probes.installed_keras import import_keras
    from accuracy_from_weights.plots.axes import require_matplotlib

    # Whatever is missing should be named before a minute has passed, not after.
    import_keras("demo")
    require_matplotlib()
    data = demo.load_digits()
    predictors = {DEFAULT_NAME: load_predictor(predictor_file, features=demo.FEATURES)}
    if full:
        zoo_data, data = _halve_held_out(data)
        predictors = {_RETRAINED: _retrain(zoo_data, networks, jobs, seed), **predictors}
    names = list(predictors)
    strip = Strip(names)
    click.echo(_heading(names) + strip.heading)
    watched = demo.watch_digits(
        data,
        predictors,
        epochs=epochs,
        seed=seed,
        on_epoch=lambda seen: _print_epoch(seen, names, strip.line(seen)),
    )
    _print_summary(watched, names)
    _draw(watched, names, output)
    click.echo(f"Advice: {advice(watched, names[0])}\nPicture: {output}")


def _halve_held_out(data: ImageData) -> tuple[ImageData, ImageData]:
    """Split the held-out images: one half scores the zoo, the other the demo's network."""
    half = len(data.y_test) // 2
    return (
        dataclasses.replace(data, x_test=data.x_test[:half], y_test=data.y_test[:half]),
        dataclasses.replace(data, x_test=data.x_test[half:], y_test=data.y_test[half:]),
    )


def _retrain(data: ImageData, n_networks: int, jobs: int, seed: int) -> AccuracyPredictor:
    """Fit a predictor to a zoo of the paper's recipes, built here and now."""
    from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
    from accuracy_from_weights.zoo.reading import read_zoo
    from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
    from accuracy_from_weights.zoo_training.builder import build_zoo

    with tempfile.TemporaryDirectory(prefix="accuracy-from-weights-") as folder:
        with progress_bar(f"Training {n_networks} networks on digits") as report:
            build_zoo(
                folder,
                PaperRecipe(),
                data,
                n_networks,
                seed=seed,
                n_jobs=jobs,
                backend="torch" if importlib.util.find_spec("torch") else "keras",
                progress=report,
            )
        with progress_bar("Describing them") as report:
            table = read_zoo(folder, n_jobs=jobs, progress=report)
    with progress_bar("Fitting a predictor to them") as report:
        return AccuracyPredictor(random_state=seed, n_jobs=jobs).fit(
            table.features, table.accuracy, groups=table.runs, on_fold=report
        )


class Strip:
    """Drawing of one epoch a line, on a terminal: interval, estimate and truth from 0 to 100%.

    Line by line it becomes a chart that grows while the network trains. Its lines are empty where
    the output is no terminal, or too narrow.
    """

    _WIDTH = 27

    def __init__(self, names: Sequence[str]) -> None:
        columns = shutil.get_terminal_size().columns
        fits = columns >= len(_heading(names)) + 2 + self._WIDTH
        self._name = names[0] if fits and sys.stdout.isatty() else None
        self._band, self._estimate, self._truth = "-*o"
        with contextlib.suppress(UnicodeEncodeError, LookupError):
            "─●◇".encode(sys.stdout.encoding or "ascii")
            self._band, self._estimate, self._truth = "─●◇"

    @property
    def heading(self) -> str:
        """What stands above the lines."""
        marks = f"{self._estimate} estimate {self._truth} truth".center(self._WIDTH - 6)
        return "" if self._name is None else f"  0%{marks}100%"

    def line(self, seen: EpochSeen) -> str:
        """Return the line of an epoch."""
        if self._name is None:
            return ""
        estimate, low, high = (seen.log[self._name + suffix] for suffix in ("", "_low", "_high"))
        first, last = self._place(low), self._place(high)
        cells = [self._band if first <= at <= last else " " for at in range(self._WIDTH)]
        cells[self._place(estimate)] = self._estimate
        cells[self._place(seen.true_accuracy)] = self._truth
        return "  " + "".join(cells).rstrip()

    def _place(self, accuracy: float) -> int:
        return round(accuracy * (self._WIDTH - 1))


def _heading(names: Sequence[str]) -> str:
    titles = (
        "retrained on digits" if n == _RETRAINED else "estimate and its interval" for n in names
    )
    return f"epoch{''.join(f'  {title:^29}' for title in titles)}  true accuracy"


def _print_epoch(seen: EpochSeen, names: Sequence[str], strip: str) -> None:
    cells = []
    for name in names:
        accuracy, low, high = (seen.log[name + suffix] for suffix in ("", "_low", "_high"))
        remark = " " if seen.log[f"{name}_in_family"] else "?"
        cells.append(f"  {accuracy:>7.3f}{remark}  [{low:.3f}, {high:.3f}]".ljust(31))
    click.echo(f"{seen.epoch:>5}{''.join(cells)}  {seen.true_accuracy:>13.3f}{strip}")


def _print_summary(watched: Watched, names: Sequence[str]) -> None:
    from accuracy_from_weights.evaluation.scores import kendall_tau

    last = watched.epochs[-1]
    best = max(watched.epochs, key=lambda seen: seen.true_accuracy)
    click.echo(
        f"\nTrained for {last.epoch} epochs and kept the last: estimated "
        f"{last.log[names[0]]:.3f}, true {last.true_accuracy:.3f}. "
        f"The best epoch in truth was {best.epoch} with {best.true_accuracy:.3f}."
    )
    for name in names:
        which = "predictor retrained on digits" if name == _RETRAINED else "given predictor"
        tau = kendall_tau(watched.true_accuracy, watched.log[name])
        held = sum(
            seen.log[f"{name}_low"] <= seen.true_accuracy <= seen.log[f"{name}_high"]
            for seen in watched.epochs
        )
        click.echo(
            f"The {which} ranks the epochs with Kendall's tau {tau:.2f}; its interval "
            f"held the truth at {held} of {len(watched.epochs)}."
        )
    if _RETRAINED not in names:
        click.echo(
            "The predictor that ships was fitted to generated tasks: it has never seen digits. "
            "demo --full fits one to networks like this one, too."
        )
    if not all(seen.log[f"{name}_in_family"] for seen in watched.epochs for name in names):
        click.echo("A question mark: the network looks unlike those that the predictor knows.")


def advice(watched: Watched, name: str) -> str:
    """Return one sentence on what to do next, from what was seen at the last epoch."""
    log, truth = watched.epochs[-1].log, watched.epochs[-1].true_accuracy
    points = 100 * abs(log[name] - truth)
    if not log[f"{name}_in_family"]:
        return (
            "networks like this one are unknown to the predictor: retrain it on runs of your own."
        )
    if not log[f"{name}_low"] <= truth <= log[f"{name}_high"]:
        return (
            f"the level is {points:.0f} points off, so compare runs by the estimate, and correct "
            "its level with anchor_every=5."
        )
    return (
        "compare runs by the estimate, keep the last epoch, and give it a training sample as here: "
        'features="weights+probes+log+sample".'
    )


def _draw(watched: Watched, names: Sequence[str], output: Path) -> None:
    from accuracy_from_weights.plots.axes import BLUE, GREEN
    from accuracy_from_weights.plots.training_run import plot_log

    axes = None
    for name, colour in zip(names, (BLUE, GREEN), strict=False):
        last = name == names[-1]
        axes = plot_log(
            watched.log,
            name,
            true_accuracy=watched.true_accuracy if last else None,
            title="A small CNN on handwritten digits, estimated without validation data",
            label="estimate, predictor retrained on digits" if name == _RETRAINED else "estimate",
            colour=colour,
            ax=axes,
            path=output if last else None,
        )
