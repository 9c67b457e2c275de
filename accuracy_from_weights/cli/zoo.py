"""``zoo``: build, import, export, describe and inspect collections of networks."""

from __future__ import annotations

import json
from pathlib import Path

import click

from accuracy_from_weights.cli.build_bar import build_bar
from accuracy_from_weights.cli.options import jobs_option, json_option, seed_option
from accuracy_from_weights.cli.progress import progress_bar

_PATH = click.Path(path_type=Path)
_DIGITS_SIZE = 16

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
@click.option(
    "--data",
    required=True,
    help="A .npz file (x_train, y_train, x_test, y_test), a folder of idx files, digits, mnist, "
    "fashion_mnist, cifar10, ...",
)
@click.option(
    "--recipe",
    default="paper",
    show_default=True,
    help="What to draw networks from: paper, wild or a TOML file.",
)
@click.option(
    "--networks", required=True, type=click.IntRange(min=1), help="Networks wanted in all."
)
@click.option("--output", required=True, type=_PATH, help="Folder of the zoo, new or to go on in.")
@click.option(
    "--size",
    type=click.IntRange(min=4),
    help=f"Bring images to SIZE x SIZE pixels.  [default: their own; {_DIGITS_SIZE} for digits]",
)
@seed_option
@jobs_option
@click.option(
    "--at-once",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Networks that a process trains at once; raise it on a GPU.",
)
@click.option(
    "--backend", type=click.Choice(["torch", "keras"]), default="torch", show_default=True
)
@click.option("--device", default="cpu", show_default=True, help="Where PyTorch trains, e.g. cuda.")
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
    recipe: str,
    networks: int,
    output: Path,
    size: int | None,
    seed: int,
    jobs: int,
    at_once: int,
    backend: str,
    device: str,
    engine: str,
    address: str | None,
    dtype: str,
) -> None:
    """Train networks and keep their checkpoints.

    Can be stopped at any moment, also by kill -9; the same command goes on from there.
    """
    from accuracy_from_weights.zoo.builder import build_zoo
    from accuracy_from_weights.zoo.datasets import load_images
    from accuracy_from_weights.zoo.recipe_files import load_recipe

    if size is None and data == "digits":
        size = _DIGITS_SIZE
    distribution = load_recipe(recipe)
    images = load_images(data, size=size)
    with build_bar() as report:
        build_zoo(
            output,
            distribution,
            images,
            networks,
            seed=seed,
            n_jobs=jobs,
            engine=engine,
            address=address,
            backend=backend,
            device=device,
            at_once=at_once,
            dtype=dtype,
            progress=report,
        )
    click.echo(f"{networks} networks in {output}", err=True)


@command.command("import")
@click.argument("published", type=_PATH)
@click.option("--output", required=True, type=_PATH, help="Folder of the zoo, new or to go on in.")
@dtype_option
def import_(published: Path, output: Path, dtype: str) -> None:
    """Turn a zoo in the published format into one file a network.

    PUBLISHED is a folder with weights.npy, metrics.csv.gz and layout.csv. Retraining needs no
    import: it reads such folders as they are.
    """
    from accuracy_from_weights.zoo.exchange import import_zoo

    with progress_bar(f"Importing {published}") as report:
        import_zoo(published, output, dtype, report)


@command.command()
@click.argument("zoo", type=_PATH)
@click.option("--output", required=True, type=_PATH, help="Folder to write the three files to.")
@dtype_option
def export(zoo: Path, output: Path, dtype: str) -> None:
    """Write ZOO in the published format: weights.npy, metrics.csv.gz and layout.csv."""
    from accuracy_from_weights.zoo.exchange import export_zoo

    with progress_bar(f"Exporting {zoo}") as report:
        export_zoo(zoo, output, dtype, report)


@command.command()
@click.argument("zoo", type=_PATH)
@click.option("--output", required=True, type=_PATH, help="The table to write, a .npz file.")
@click.option("--compact", is_flag=True, help="Round features to 1/4096, which halves the file.")
@jobs_option
def describe(zoo: Path, output: Path, compact: bool, jobs: int) -> None:
    """Keep the features of ZOO's networks as one small table.

    ZOO is a zoo or a folder of zoos. All commands that take a zoo take the table as well, which
    holds no weights and is read in a moment.
    """
    from accuracy_from_weights.errors import ZooError
    from accuracy_from_weights.zoo.table import read_zoo

    if output.suffix != ".npz":
        raise ZooError(f"Expected the name of a table to end in .npz. Received: {output}.")
    with progress_bar(f"Describing {zoo}") as report:
        table = read_zoo(zoo, n_jobs=jobs, progress=report)
    table.save(output, compact)
    click.echo(f"{len(table)} checkpoints in {output}", err=True)


@command.command()
@click.argument("zoo", type=_PATH)
@json_option
@click.option("--plot", type=_PATH, help="Draw the accuracies to this file, e.g. zoo.png.")
def info(zoo: Path, as_json: bool, plot: Path | None) -> None:
    """Say what ZOO (a zoo or a folder of zoos) holds: counts, accuracies, recipes."""
    from accuracy_from_weights.zoo.summary import as_text, summarise

    summaries = summarise(zoo)
    if plot is not None:
        from accuracy_from_weights.zoo.plots import plot_accuracies

        plot_accuracies(summaries, plot)
    if as_json:
        click.echo(json.dumps(summaries, indent=2))
    else:
        click.echo("\n\n".join(as_text(summary) for summary in summaries))
