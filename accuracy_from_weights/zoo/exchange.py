"""Convert zoos between this package's format and the published format."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.io.archives import open_archive
from accuracy_from_weights.io.atomic import replacing
from accuracy_from_weights.zoo.metrics import (
    MEASURED,
    METRICS_FILES,
    RECIPE_PREFIX,
    ZooMetrics,
    write_metrics,
)
from accuracy_from_weights.zoo.network_file import StoredNetwork, finite_or_none
from accuracy_from_weights.zoo.published import (
    LAYOUT_FILE,
    WEIGHTS_FILE,
    is_published_folder,
    layout_of,
    open_published,
    read_rows,
    rows_of,
    stack_from_rows,
    write_layout,
)
from accuracy_from_weights.zoo.sources import open_source
from accuracy_from_weights.zoo.store import ZooStore

Progress = Callable[[int, int], None]


def export_zoo(
    zoo: str | Path,
    folder: str | Path,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> None:
    """Write a zoo that this package built in the published format.

    A zoo that is in the folder is replaced once the new one is complete: ``weights.npy``, in
    float32 or float16, ``metrics.csv.gz`` and ``layout.csv``. ``progress`` is called with the
    checkpoints written and their number in all.

    Raises
    ------
    ZooError
        When networks differ in architecture or have layers that the format cannot hold (it knows
        dense layers and plain convolutions), or when the files cannot be written.
    """
    if dtype not in ("float32", "float16"):
        raise ZooError(f"Weights cannot be stored as {dtype!r}. Choose float32 or float16.")
    zoo, folder = Path(zoo), Path(folder)
    source = open_source(zoo)
    if ZooStore.is_store(zoo):
        _refuse_batch_normalisation(ZooStore(zoo))
    n = len(source.metrics)
    names = (WEIGHTS_FILE, METRICS_FILES[0], LAYOUT_FILE)
    layout = None
    done = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as files:
            temporary = {name: files.enter_context(replacing(folder / name)) for name in names}
            for piece in source.pieces:
                for rows, stack in piece.stacks(np.ones(len(source.metrics), bool)):
                    if layout is None:
                        layout = layout_of(stack)
                        weights = np.lib.format.open_memmap(
                            temporary[WEIGHTS_FILE], "w+", np.dtype(dtype), (n, layout[-1].end)
                        )
                    elif layout_of(stack) != layout:
                        raise ZooError(
                            f"{zoo} holds networks of several architectures, and the published "
                            "format holds one. Export a zoo of one architecture."
                        )
                    weights[rows] = rows_of(stack)
                    done += len(rows)
                    if progress is not None:
                        progress(done, n)
            if layout is None:
                raise ZooError(f"{zoo} holds no network. Build it first (zoo build).")
            weights.flush()
            del weights
            write_layout(temporary[LAYOUT_FILE], layout)
            header, lines = _metrics_lines(source.metrics)
            write_metrics(temporary[METRICS_FILES[0]], header, lines)
    except OSError as error:
        raise ZooError(f"The zoo cannot be written to {folder}: {error.strerror}.") from error


def import_zoo(
    published: str | Path,
    folder: str | Path,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> ZooStore:
    """Convert a zoo in the published format to this package's format.

    Stopped at any moment, the same call goes on. ``progress`` is called with the networks written
    and their number in all.

    Raises
    ------
    ZooError
        When the zoo is damaged, or `folder` holds another one or cannot be written to.
    """
    published = Path(published)
    if not is_published_folder(published):
        raise ZooError(
            f"{published} is not a zoo in the published format: a folder with weights.npy, "
            "metrics.csv.gz and layout.csv."
        )
    zoo = open_published(published)
    metrics = zoo.metrics
    names, places = np.unique(metrics.runs, return_inverse=True)
    order = np.lexsort((metrics.steps, places))
    rows_by_run = np.split(order, np.flatnonzero(np.diff(places[order])) + 1)
    store = ZooStore(folder)
    with store.writing() as writer:
        writer.begin(
            {
                "imported": published.resolve().name,
                "metrics_sha256": metrics.digest,
                "layout": [dataclasses.asdict(variable) for variable in zoo.layout],
            }
        )
        missing = set(writer.missing(len(names)))
        done = len(names) - len(missing)
        for index, rows in enumerate(rows_by_run):
            if index not in missing:
                continue
            stack = stack_from_rows(read_rows(published, rows), zoo.layout)
            weights = {}
            for number, layer in enumerate(stack.layers):
                weights[f"{number}.{layer.name}.weight"] = layer.kernel
                if layer.bias is not None:
                    weights[f"{number}.{layer.name}.bias"] = layer.bias
            header = _header(index, str(names[index]), metrics, rows, published.resolve().name)
            writer.add(StoredNetwork(header, weights), dtype)
            done += 1
            if progress is not None:
                progress(done, len(names))
    return store


def _header(
    index: int, run: str, metrics: ZooMetrics, rows: np.ndarray, name: str
) -> dict[str, object]:
    hyperparameters = {key: values[rows[0]].item() for key, values in metrics.recipe.items()}
    known = {
        key: value
        for key, value in hyperparameters.items()
        if value == value  # NaN, where the recipe does not say, is not equal to itself
    }
    return {
        "index": index,
        "run": run,
        "recipe": None,
        "hyperparameters": known | ({} if "dataset" in known else {"dataset": name}),
        "steps": metrics.steps[rows].tolist(),
        "history": {
            key: [finite_or_none(value) for value in getattr(metrics, key)[rows]]
            for key in MEASURED
        },
        "diverged": None,
        "seconds": None,
        "made_by": {"imported": name},
        "versions": {},
    }


def _metrics_lines(metrics: ZooMetrics) -> tuple[list[str], Iterator[list[object]]]:
    measured = [
        name
        for name in MEASURED
        if not name.startswith("log_") or not np.isnan(getattr(metrics, name)).all()
    ]
    header = [RECIPE_PREFIX + name for name in metrics.recipe] + ["modeldir", "step", *measured]
    columns = [*metrics.recipe.values(), metrics.runs, metrics.steps]
    columns += [getattr(metrics, name) for name in measured]

    def lines() -> Iterator[list[object]]:
        for row in range(len(metrics)):
            yield [_text(column[row].item()) for column in columns]

    return header, lines()


def _text(value: object) -> object:
    """Return a number as text: whole numbers without a point, unknown ones empty."""
    if isinstance(value, float):
        if value != value:
            return ""
        if value.is_integer() and abs(value) < 1e15:
            return int(value)
    return value


def _refuse_batch_normalisation(store: ZooStore) -> None:
    """Raise `ZooError` for networks with batch normalisation, which reading folds away."""
    for index in store.indices():
        with open_archive(store.path(index)) as file:
            names = file.names
        if any(name.endswith(".running_var") for name in names):
            raise ZooError(
                f"Network {index} of {store.folder} has batch normalisation, which the published "
                "format cannot hold."
            )
