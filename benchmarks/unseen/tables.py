"""Tables of scikit-learn and pydataset, and series of aeon, read from the packages' own files."""

from __future__ import annotations

import csv
import importlib.util
import io
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

_OF_PYDATASET = {
    "diamonds": ("ggplot2/diamonds.csv", "cut", ()),
    "chile": ("car/Chile.csv", "vote", ()),
    "glass": ("MASS/fgl.csv", "type", ()),
    "pima": ("MASS/Pima.tr.csv MASS/Pima.te.csv", "type", ()),
    "males": ("Ecdat/Males.csv", "industry", ("nr",)),
}
"""Of each table its files, the column that holds the classes, and columns to leave out."""
_OF_AEON = {"italy_power": ("ItalyPowerDemand", 1), "osu_leaf": ("OSULeaf", 4)}
"""Of each set its name in the package, and how many neighbours are averaged."""


def read_table(name: str) -> tuple[Array, Array]:
    """Return rows of numbers, categories one column each, and classes.

    Raises
    ------
    LookupError
        When the package that holds the table is not installed.
    """
    if name in _OF_PYDATASET:
        return _of_pydataset(*_OF_PYDATASET[name])
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name.removesuffix('_table')}")()
    return bunch.data, bunch.target


def _of_pydataset(files: str, target: str, left_out: tuple[str, ...]) -> tuple[Array, Array]:
    rows: list[dict[str, str]] = []
    with tarfile.open(package_folder("pydataset") / "resources.tar.gz") as archive:
        for file in files.split():
            member = archive.extractfile(f"resources/rdata/csv/{file}")
            assert member is not None
            rows += csv.DictReader(io.TextIOWrapper(member, "utf-8"))
    rows = [row for row in rows if "NA" not in row.values()]
    names = [name for name in rows[0] if name not in ("", target, *left_out)]
    columns = [_as_columns(np.array([row[name] for row in rows])) for name in names]
    return np.concatenate(columns, axis=1), np.array([row[target] for row in rows])


def _as_columns(values: NDArray[np.str_]) -> Array:
    try:
        return values.astype(np.float64)[:, None]
    except ValueError:
        categories = np.unique(values)
        shown = categories[1:] if len(categories) == 2 else categories
        return (values[:, None] == shown).astype(np.float64)


def read_series(name: str) -> tuple[Array, Array]:
    """Return series of shape (n, length, 1) and their classes; errors as `read_table`."""
    folder, averaged = _OF_AEON[name]
    path = package_folder("aeon") / "datasets" / "data" / folder
    lines = []
    for file in sorted(path.glob("*_T*.ts")):
        _, _, data = file.read_text("utf-8").partition("@data")
        lines += data.split()
    fields = [line.split(":") for line in lines]
    series = np.array([np.array(values.split(","), np.float32) for values, _ in fields])
    length = series.shape[1] // averaged
    series = series[:, : length * averaged].reshape(-1, length, averaged).mean(axis=2)
    return series[..., None], np.array([label for _, label in fields])


def package_folder(package: str) -> Path:
    """Return where a package lies, without importing it; LookupError where it is missing."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise LookupError(f"{package} is not installed.")
    return Path(spec.origin).parent
