"""``zoo``: build, import, export, describe and inspect collections of networks."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accuracy_from_weights.cli.options import jobs_option, json_option, seed_option
from accuracy_from_weights.cli.progress import progress_bar

if TYPE_CHECKING:
    from accuracy_from_weights.zoo_training.training import TrainingData

_PATH = click.Path(path_type=Path)
_DIGITS_SIZE = 16

data_option = click.option(
    "--data",
    required=True,
    help="A .npz file (x_train, y_train, x_test, y_test), a folder of idx files, digits, mnist, "
    "fashion_mnist, cifar10, ..., or universe: a new generated task every few networks.",
)
recipe_option = click.option(
    "--recipe",
    help="What to draw networks from: paper, wild, universe or a TOML file.  "
    "[default: universe for the data universe, else paper]",
)
size_option = click.option(
    "--size",
    type=click.IntRange(min=4),
    help=f"Bring images to SIZE x SIZE pixels.  [default: their own; {_DIGITS_SIZE} for digits]",
)
backend_option = click.option(
    "--backend", type=click.Choice(["torch", "keras"]), default="torch", show_default=True
)
device_option = click.option(
    "--device", default="cpu", show_default=True, help="Where PyTorch trains, e.g. cuda."
)
dtype_option = click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Type of the stored weights.",
)


@click.group()
def command() -> None:
    """Build, import, export and inspect zoos of networks."""


@command.command()
@data_option
@recipe_option
@click.option(
    "--networks", required=True, type=click.IntRange(min=1), help="Networks wanted in all."
)
@click.option(
    "--output",
    type=_PATH,
    help="Folder of the zoo, new or to go on in.  [default: DATA-RECIPE, here]",
)
@size_option
@seed_option
@jobs_option
@click.option(
    "--at-once",
    type=click.IntRange(min=1),
    help="Networks that a process trains at once.  [default: 1; what its memory holds on a GPU]",
)
@backend_option
@device_option
@click.option(
    "--engine",
    type=click.Choice(["local", "dask", "ray"]),
    default="local",
    show_default=True,
    help="What to spread the work over.",
)
@click.option("--address", help="Of the Dask scheduler or the Ray head.  [default: start one here]")
@dtype_option
def build(
    data: str,
    recipe: str | None,
    networks: int,
    output: Path | None,
    size: int | None,
    jobs: int,
    **settings: Any,
) -> None:
    """Train networks and keep their checkpoints.

    Can be stopped at any moment, also by kill -9; the same command goes on from there.

    \b
    Examples:
      accuracy-from-weights zoo build --data digits --recipe paper --networks 100
      accuracy-from-weights zoo build --data universe --networks 500 --jobs -1
    """
    from accuracy_from_weights.zoo.recipes.recipe_files import load_recipe
    from accuracy_from_weights.zoo.store import ZooStore
    from accuracy_from_weights.zoo_training.builder import build_zoo

    recipe = recipe or _usual_recipe(data)
    output = output or Path(f"{Path(data).stem}-{Path(recipe).stem}")
    distribution, examples = load_recipe(recipe), _load(data, size)
    with progress_bar("Training networks", per_hour="networks") as report:
        build_zoo(
            output,
            distribution,
            examples,
            networks,
            n_jobs=jobs,
            progress=report,
            **settings,
        )
    held = len(ZooStore(output).indices())
    click.echo(f"{held} networks in {output}, {networks} wanted", err=True)


@command.command()
@click.argument("index", type=click.IntRange(min=0))
@data_option
@recipe_option
@size_option
@seed_option
@backend_option
@device_option
@click.option("--output", required=True, type=_PATH, help="The network's file, ending in .npz.")
def rebuild(
    index: int,
    data: str,
    recipe: str | None,
    size: int | None,
    output: Path,
    **settings: Any,
) -> None:
    """Train network number INDEX of a zoo again, without the others.

    With the data, recipe and seed of the zoo it comes out as it did there. Its last checkpoint is
    written as a state dict, and the history is printed as JSON.

    \b
    Examples:
      accuracy-from-weights zoo rebuild 7 --data digits --output network.npz
      accuracy-from-weights zoo rebuild 7 --data mine.npz --recipe wild --output network.npz
    """
    from accuracy_from_weights.zoo.network_file import write_state_dict
    from accuracy_from_weights.zoo.recipes.recipe_files import load_recipe
    from accuracy_from_weights.zoo_training.builder import rebuild_network

    distribution = load_recipe(recipe or _usual_recipe(data))
    network = rebuild_network(distribution, _load(data, size), index, **settings)
    write_state_dict(network.weights, output)
    history = {"step": network.header["steps"], **network.header["history"]}
    click.echo(json.dumps({"recipe": network.header["recipe"], "history": history}, indent=2))


def _usual_recipe(data: str) -> str:
    return "universe" if data == "universe" else "paper"


def _load(data: str, size: int | None) -> TrainingData:
    if data == "universe":
        from accuracy_from_weights.zoo_training.universe_data import UniverseData

        if size is not None:
            raise click.UsageError("--size is for data sets: the universe's images have their own.")
        return UniverseData()
    from accuracy_from_weights.zoo_training.datasets import load_images

    return load_images(data, size=_DIGITS_SIZE if size is None and data == "digits" else size)


@command.command("import")
@click.argument("published", type=_PATH)
@click.option("--output", required=True, type=_PATH, help="Folder of the zoo, new or to go on in.")
@dtype_option
def import_(published: Path, output: Path, dtype: str) -> None:
    """Turn a zoo in the published format into one file a network.

    PUBLISHED is a folder with weights.npy, metrics.csv.gz and layout.csv. Retraining needs no
    import: it reads such folders as they are.

    \b
    Examples:
      accuracy-from-weights zoo import small_cnn_zoo/mnist --output mnist-zoo
      accuracy-from-weights zoo import small_cnn_zoo/mnist --output mnist-zoo --dtype float16
    """
    from accuracy_from_weights.zoo.exchange import import_zoo

    with progress_bar(f"Importing {published}") as report:
        import_zoo(published, output, dtype, report)


@command.command()
@click.argument("zoo", type=_PATH)
@click.option("--output", required=True, type=_PATH, help="Folder to write the three files to.")
@dtype_option
def export(zoo: Path, output: Path, dtype: str) -> None:
    """Write ZOO in the published format: weights.npy, metrics.csv.gz and layout.csv.

    \b
    Examples:
      accuracy-from-weights zoo export my-zoo --output published
      accuracy-from-weights zoo export my-zoo --output published --dtype float16
    """
    from accuracy_from_weights.zoo.exchange import export_zoo

    with progress_bar(f"Exporting {zoo}") as report:
        export_zoo(zoo, output, dtype, report)


@command.command()
@click.argument("zoo", type=_PATH)
@click.option("--output", required=True, type=_PATH, help="The table to write, a .npz file.")
@click.option("--compact", is_flag=True, help="Round features to 1/256: half the size.")
@click.option(
    "--probes/--no-probes",
    default=False,
    show_default=True,
    help="Also run each network on synthetic inputs; takes PyTorch and some milliseconds each.",
)
@click.option(
    "--sample",
    "data",
    metavar="DATA",
    help="Also ask each network about 256 of its training examples: the --data that the zoo was "
    "built with.",
)
@click.option(
    "--checkpoints",
    type=click.IntRange(min=1),
    help="Keep at most so many checkpoints of each run: the last, and some of the others.",
)
@size_option
@jobs_option
def describe(
    zoo: Path,
    output: Path,
    compact: bool,
    probes: bool,
    data: str | None,
    checkpoints: int | None,
    size: int | None,
    jobs: int,
) -> None:
    """Describe ZOO's networks and write their features to one small table.

    ZOO is a zoo, a folder of zoos, or a CSV file with the columns file, run and accuracy that
    lists checkpoints of your own. All commands that take a zoo take the table as well, which
    holds no weights and is read in a moment.

    \b
    Examples:
      accuracy-from-weights zoo describe my-zoo --output table.npz
      accuracy-from-weights zoo describe my-zoo --output table.npz --probes --compact
    """
    from accuracy_from_weights.cli.zoos import read_zoos
    from accuracy_from_weights.errors import ZooError

    if output.suffix != ".npz":
        raise ZooError(f"The table's name must end in .npz, and {output} does not.")
    examples = None
    if data is not None:
        from accuracy_from_weights.zoo_training.tasks import examples_of

        examples = functools.partial(examples_of, data=_load(data, size))
    table = read_zoos([zoo], jobs, probes, examples, checkpoints)
    if probes and table.probes is None:
        raise ZooError(
            f"The networks of {zoo} cannot be run on probes: only those that zoo build trained, "
            "or the paper's network in the published format, can. Leave out --probes."
        )
    table.save(output, compact)
    click.echo(f"{len(table)} checkpoints in {output}", err=True)


@command.command()
@click.argument("zoo", type=_PATH)
@json_option
@click.option("--plot", type=_PATH, help="Draw the accuracies to this file, e.g. zoo.png.")
def info(zoo: Path, as_json: bool, plot: Path | None) -> None:
    """Show what ZOO (a zoo, a table or a folder of them) holds: counts, accuracies, recipes.

    \b
    Examples:
      accuracy-from-weights zoo info my-zoo
      accuracy-from-weights zoo info table.npz --json
    """
    from accuracy_from_weights.zoo.summary import as_text, summarise

    summaries = summarise(zoo)
    if plot is not None:
        from accuracy_from_weights.plots.zoo import plot_accuracies

        plot_accuracies(summaries, plot)
    if as_json:
        click.echo(json.dumps(summaries, indent=2))
    else:
        click.echo("\n\n".join(as_text(summary) for summary in summaries))
