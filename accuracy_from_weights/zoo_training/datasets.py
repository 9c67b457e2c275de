"""Loading of images to train a zoo on: files, folders and downloads, brought to one form."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import MissingDependencyError, ZooError
from accuracy_from_weights.io.archives import open_data
from accuracy_from_weights.zoo_training.idx import is_idx_folder, read_idx_folder
from accuracy_from_weights.zoo_training.training import ImageData

Images = NDArray[np.generic]
_Parts = tuple[Images, ...]
"""Images and labels to train on, then those to test on."""

DEBIAN_FOLDERS = {"fashion_mnist": Path("/usr/share/datasets/fashion-mnist")}
"""Where Debian packages (here ``dataset-fashion-mnist``) put their idx files."""

# Names in keras.datasets and in torchvision.datasets; None where the library has no such set.
_DOWNLOADS = {
    "mnist": ("mnist", "MNIST"),
    "fashion_mnist": ("fashion_mnist", "FashionMNIST"),
    "cifar10": ("cifar10", "CIFAR10"),
    "cifar100": ("cifar100", "CIFAR100"),
    "kmnist": (None, "KMNIST"),
    "svhn": (None, "SVHN"),
}
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_DIGITS_TEST = 500


def load_images(
    name_or_path: str | Path,
    *,
    size: int | None = None,
    channels: int | None = None,
) -> ImageData:
    """Load images and labels, split into those to train on and those to test on.

    Parameters
    ----------
    name_or_path : str or Path
        ``"digits"`` (ships inside scikit-learn: 8 x 8, 1,297 images to train on, 500 to test on);
        a ``.npz`` file with the arrays ``x_train``, ``y_train``, ``x_test``, ``y_test``, grey
        (n, height, width) or colour (n, height, width, channels); a folder of idx files as MNIST
        has them; or ``"mnist"``, ``"fashion_mnist"``, ``"cifar10"``, ``"cifar100"``, ``"kmnist"``,
        ``"svhn"``, which Keras or torchvision download (Fashion-MNIST is read from Debian's
        package ``dataset-fashion-mnist`` where that is installed). ``"keras:NAME"`` and
        ``"torchvision:NAME"`` insist on one of them.
    size : int, optional
        Height and width in pixels to bring the images to (linear interpolation; averages where
        images shrink). Defaults to their own.
    channels : int, optional
        1 takes the mean of the colour channels, 3 repeats a grey channel. Defaults to their own.

    Returns
    -------
    ImageData
        Images as uint8, where the source has them so, else float32 in [-1, 1].

    Raises
    ------
    ZooError
        When the name is unknown, nothing can be downloaded, or arrays do not fit together.
    UnreadableFileError
        When a file is damaged.
    MissingDependencyError
        When the images must be downloaded and neither Keras nor torchvision is installed.
    """
    name, parts = _find(name_or_path)
    if not all(array.ndim for array in parts):
        raise ZooError(f"An array of {name} is a single number instead of images or labels.")
    x_train, y_train, x_test, y_test = parts
    y_train, y_test, n_classes = _number_classes(name, y_train, y_test)
    if x_train.dtype != np.uint8:
        scale, shift = _scaling(name, x_train)
        x_train = x_train.astype(np.float32) * np.float32(scale) + np.float32(shift)
        x_test = x_test.astype(np.float32) * np.float32(scale) + np.float32(shift)
    return ImageData(
        name=name,
        x_train=_bring(name, x_train, size, channels),
        y_train=y_train,
        x_test=_bring(name, x_test, size, channels),
        y_test=y_test,
        n_classes=n_classes,
    )


def resize(images: Images, size: int) -> Images:
    """Bring images, shape (n, channels, height, width), to `size` x `size` pixels.

    Linear interpolation, the triangle widened by the ratio where images shrink, so that every
    pixel counts; uint8 is rounded.
    """
    height, width = images.shape[2:]
    if (height, width) == (size, size):
        return images
    rows, columns = _resampling_matrix(height, size), _resampling_matrix(width, size)
    resized = np.empty((*images.shape[:2], size, size), images.dtype)
    for start in range(0, len(images), 1000):
        block = rows @ images[start : start + 1000].astype(np.float32) @ columns.T
        resized[start : start + 1000] = (
            np.clip(np.rint(block), 0, 255) if images.dtype == np.uint8 else block
        )
    return resized


def _resampling_matrix(n_from: int, n_to: int) -> NDArray[np.float32]:
    ratio = n_from / n_to
    centres = (np.arange(n_to)[:, None] + 0.5) * ratio - 0.5
    weights = np.maximum(0, 1 - np.abs(centres - np.arange(n_from)) / max(ratio, 1))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _find(name_or_path: str | Path) -> tuple[str, _Parts]:
    name = str(name_or_path)
    path = Path(name_or_path)
    if name == "digits":
        return name, _digits()
    source, _, plain = name.rpartition(":")
    plain = plain.lower().replace("fashionmnist", "fashion_mnist")
    if source in ("keras", "torchvision") or (plain in _DOWNLOADS and not path.exists()):
        return plain, _download(source, plain)
    if path.is_dir() and is_idx_folder(path):
        return path.resolve().name.replace("-", "_"), read_idx_folder(path)
    if path.suffix == ".npz" and path.is_file():
        return path.stem, _read_npz(path)
    raise ZooError(
        f"{name} is no data set{'' if path.exists() else ' and no file'}. Give a .npz file, a "
        f"folder of idx files, digits or one of {', '.join(_DOWNLOADS)}."
    )


def _digits() -> _Parts:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    y = digits.target
    order = np.random.default_rng(0).permutation(len(x))
    test, train = order[:_DIGITS_TEST], order[_DIGITS_TEST:]
    return x[train], y[train], x[test], y[test]


def _read_npz(path: Path) -> _Parts:
    with open_data(path) as archive:
        missing = [name for name in _ARRAYS if name not in archive.names]
        if missing:
            raise ZooError(
                f"{path} lacks the arrays {', '.join(missing)}; it needs {', '.join(_ARRAYS)}."
            )
        return tuple(archive[name] for name in _ARRAYS)


def _download(source: str, name: str) -> _Parts:
    folder = DEBIAN_FOLDERS.get(name)
    if not source and folder is not None and is_idx_folder(folder):
        return read_idx_folder(folder)
    keras_name, torchvision_name = _DOWNLOADS.get(name, (None, None))
    sources = {"keras": keras_name, "torchvision": torchvision_name}
    wanted = {source: sources[source]} if source else sources
    if not any(wanted.values()):
        raise ZooError(
            f"{source}:{name} cannot be downloaded. Choose one of {', '.join(_DOWNLOADS)} (Keras "
            "has no kmnist and no svhn)."
        )
    failures, missing = [], []
    for library, its_name in wanted.items():
        if its_name and importlib.util.find_spec(library):
            load = _from_keras if library == "keras" else _from_torchvision
            try:
                return load(its_name)
            except ImportError as error:
                missing.append(f"{library} ({error})")
            except Exception as error:  # noqa: BLE001 - they let everything through, SSL errors too
                failures.append(f"{library} failed with {type(error).__name__} ({error})")
    if failures:
        raise ZooError(
            f"{name} cannot be downloaded: {'; '.join(failures)}. "
            "Without a connection, give a .npz file or digits."
        )
    if missing:
        raise MissingDependencyError(
            f"{name} cannot be downloaded, since an import fails: {', '.join(missing)}. Set "
            "KERAS_BACKEND to a backend that is installed, or give a .npz file or digits."
        )
    raise MissingDependencyError(
        f"{name} is downloaded with {' or '.join(key for key, value in wanted.items() if value)}, "
        "and none is installed. Install it, or give a .npz file or digits."
    )


def _from_keras(name: str) -> _Parts:
    module = importlib.import_module(f"keras.datasets.{name}")
    train, test = module.load_data()
    return *train, *test


def _from_torchvision(name: str) -> _Parts:
    datasets = importlib.import_module("torchvision.datasets")
    root = Path.home() / ".cache" / "accuracy_from_weights" / name.lower()
    parts: list[Images] = []
    for train in (True, False):
        choice = {"split": "train" if train else "test"} if name == "SVHN" else {"train": train}
        data = getattr(datasets, name)(root=str(root), download=True, **choice)
        x = np.asarray(data.data)
        labels = data.labels if name == "SVHN" else data.targets
        parts += [x.transpose(0, 2, 3, 1) if name == "SVHN" else x, np.asarray(labels)]
    return tuple(parts)


def _number_classes(
    name: str, y_train: Images, y_test: Images
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Renumber the classes 0, 1, 2, ... in the order of their labels."""
    y_train, y_test = y_train.reshape(len(y_train), -1), y_test.reshape(len(y_test), -1)
    for y in (y_train, y_test):
        if y.shape[1:] != (1,) or y.dtype.kind not in "iu" or not len(y):
            raise ZooError(
                f"The labels of {name} have the shape {y.shape} and the type {y.dtype} instead of "
                "one whole number for each image."
            )
    labels = np.unique(y_train)
    unknown = np.setdiff1d(y_test, labels)
    if unknown.size:
        raise ZooError(f"The classes {unknown.tolist()} of {name} are among the test labels only.")
    return (
        np.searchsorted(labels, y_train[:, 0]),
        np.searchsorted(labels, y_test[:, 0]),
        len(labels),
    )


def _scaling(name: str, x: Images) -> tuple[float, float]:
    """Find the factor and the summand that bring the range of x to [-1, 1]."""
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
    if -1 <= low < 0 and high <= 1:
        return 1, 0
    if low >= 0 and high <= 255:
        return (2, -1) if high <= 1 and x.dtype.kind == "f" else (2 / 255, -1)
    raise ZooError(
        f"The pixels of {name} run from {low:g} to {high:g} instead of lying in [0, 255], [0, 1] "
        "or [-1, 1]."
    )


def _bring(name: str, x: Images, size: int | None, channels: int | None) -> Images:
    """Bring images to the shape (n, channels, size, size)."""
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[3] in (1, 3, 4):
        x = x[..., :3].transpose(0, 3, 1, 2)
    if x.ndim != 4 or not x.size:  # of nothing there may be absurdly much
        raise ZooError(
            f"The images of {name} have the shape {x.shape} instead of (n, height, width) or (n, "
            "height, width, channels)."
        )
    if channels == 1 and x.shape[1] > 1:
        grey = x.mean(axis=1, dtype=np.float32, keepdims=True)
        x = (np.rint(grey) if x.dtype == np.uint8 else grey).astype(x.dtype)
    elif channels == 3 and x.shape[1] == 1:
        x = np.repeat(x, 3, axis=1)
    elif channels not in (None, x.shape[1]):
        raise ZooError(f"{channels} channels cannot be made of {name}. Choose 1 or 3.")
    if size is None and x.shape[2] != x.shape[3]:
        raise ZooError(
            f"The images of {name} have {x.shape[2]} x {x.shape[3]} pixels and are not square. "
            "Give a size to bring them to."
        )
    return np.ascontiguousarray(x if size is None else resize(x, size))
