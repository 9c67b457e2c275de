"""Read zoos of any kind into a table: folders, tables, and CSV files that list checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import InvalidArgumentError, UnreadableFileError, ZooError
from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.zoo.checkpoints import read_checkpoints
from accuracy_from_weights.zoo.describing import ExamplesOf, describe_pieces
from accuracy_from_weights.zoo.metrics import MEASURED
from accuracy_from_weights.zoo.sources import ZooSource, is_source, open_source
from accuracy_from_weights.zoo.table import ZooTable, concatenate, thinned_rows


def read_zoo(
    path: str | Path,
    n_jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
    *,
    probes: bool = False,
    examples: ExamplesOf | None = None,
    checkpoints: int | None = None,
) -> ZooTable:
    """Read a zoo and describe the weights of each checkpoint.

    Parameters
    ----------
    path : str or Path
        A folder in the published format, a folder that this package built, a table that was saved,
        a folder of such, or a CSV file that lists checkpoints (see `checkpoints.read_checkpoints`).
    n_jobs : int, default 1
        Processes to describe weights in; -1 for one a core.
    progress : callable, optional
        Called with the checkpoints described and their number in all.
    probes : bool, default False
        Whether to run each network, too, on synthetic inputs, which needs PyTorch and takes some
        milliseconds a checkpoint. A table that was saved has the probes that it was saved with.
    examples : callable, optional
        Returns the training examples of a network's task, inputs and classes, as
        ``zoo_training.tasks.examples_of`` does; each network is then asked about 256 of them.
    checkpoints : int, optional
        Keep at most so many of each run, as `ZooTable.thinned` does; of a folder's networks no
        others are described.

    Returns
    -------
    ZooTable
        Checkpoints whose accuracy is unknown (the network had diverged) are left out. The same
        whatever `n_jobs` is.

    Raises
    ------
    ZooError
        When there is no zoo, it is damaged, or no accuracy is known.
    UnreadableFileError
        When a table or the CSV file is missing or damaged.
    InvalidArgumentError
        When probes are asked for and the checkpoints of a CSV file cannot be run on them.
    MissingDependencyError
        When probes are asked for and PyTorch is not installed.
    """
    table = _read(Path(path), n_jobs, progress, probes, examples, checkpoints)
    return table if checkpoints is None else table.thinned(checkpoints)


def _read(
    path: Path,
    n_jobs: int,
    progress: Callable[[int, int], None] | None,
    probes: bool,
    examples: ExamplesOf | None,
    checkpoints: int | None,
) -> ZooTable:
    if path.suffix.lower() == ".csv":
        if probes or examples is not None:
            raise InvalidArgumentError(
                f"The checkpoints of {path} cannot be run on probes or examples, since a CSV file "
                "does not say how. Describe them by their weights alone."
            )
        return read_checkpoints(path, n_jobs=n_jobs, progress=progress)
    if path.is_file():
        return _current(path, ZooTable.load(path))
    if not path.is_dir():
        raise UnreadableFileError(
            f"{path} does not exist. Name a zoo's folder, a table, or a CSV file of checkpoints."
        )
    if is_source(path):
        sources = [open_source(path)]
        return _describe_sources(sources, n_jobs, progress, probes, examples, checkpoints)[0]
    folders = sorted(folder for folder in path.iterdir() if is_source(folder))
    files = sorted(path.glob("*.npz"))
    if not folders and not files:
        raise ZooError(
            f"{path} is not a zoo: neither a folder with weights.npy, metrics.csv.gz and "
            "layout.csv, nor one that zoo build wrote, nor a table, nor a folder of such."
        )
    tables = [_current(file, ZooTable.load(file)) for file in files]
    sources = [open_source(folder) for folder in folders]
    tables += _describe_sources(sources, n_jobs, progress, probes, examples, checkpoints)
    if len(tables) == 1:
        return tables[0]
    return concatenate(tables, [file.stem for file in files] + [folder.name for folder in folders])


def _describe_sources(
    sources: list[ZooSource],
    n_jobs: int,
    progress: Callable[[int, int], None] | None,
    probes: bool,
    examples: ExamplesOf | None,
    checkpoints: int | None,
) -> list[ZooTable]:
    chosen = [_kept(source, checkpoints) for source in sources]
    total = sum(int(kept.sum()) for kept in chosen)
    done = 0

    def count(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, total)

    count(0)
    return [
        _table_of(
            source,
            kept,
            describe_pieces(source, kept, n_jobs, count, probes=probes, examples=examples),
        )
        for source, kept in zip(sources, chosen, strict=True)
    ]


def _kept(source: ZooSource, checkpoints: int | None) -> NDArray[np.bool_]:
    """Return a mask of the checkpoints of known accuracy, of each run at most so many."""
    metrics = source.metrics
    known = ~np.isnan(metrics.test_accuracy)
    if not known.any():
        raise ZooError(f"All networks of {source.name} diverged. Name another zoo.")
    if checkpoints is not None:
        rows = np.flatnonzero(known)
        known[rows] = False
        known[rows[thinned_rows(metrics.runs[rows], metrics.steps[rows], checkpoints)]] = True
    return known


def _table_of(source: ZooSource, kept: NDArray[np.bool_], described: dict[str, Any]) -> ZooTable:
    metrics = source.metrics
    datasets: Any = metrics.recipe.get("dataset")
    if datasets is None or datasets.dtype.kind != "U":
        datasets = np.full(len(metrics), source.name)
    # A subset also drops columns that nothing is known of.
    return ZooTable(
        **described,
        **{name.removeprefix("test_"): getattr(metrics, name) for name in MEASURED},
        feature_names=FEATURE_NAMES,
        runs=metrics.runs,
        datasets=datasets,
        steps=metrics.steps,
        hyperparameters=metrics.recipe,
    ).subset(kept)


def _current(path: Path, table: ZooTable) -> ZooTable:
    if table.feature_names != FEATURE_NAMES:
        raise ZooError(
            f"{path} has other features than the {len(FEATURE_NAMES)} of this version. Describe "
            "its zoo anew (zoo describe)."
        )
    return table
