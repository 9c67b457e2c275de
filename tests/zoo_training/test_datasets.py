from __future__ import annotations

import gzip
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accuracy_from_weights.errors import MissingDependencyError, UnreadableFileError, ZooError
from accuracy_from_weights.zoo_training import datasets
from accuracy_from_weights.zoo_training.datasets import load_images, resize


def arrays(n: int = 20, shape: tuple[int, ...] = (6, 6), dtype: str = "uint8") -> dict:
    rng = np.random.default_rng(0)
    made = {}
    for part in ("train", "test"):
        pixels = rng.integers(0, 256, (n, *shape))
        made[f"x_{part}"] = pixels.astype(dtype)
        made[f"y_{part}"] = np.arange(n) % 4
    return made


def save(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "mine.npz"
    made = {key: value for key, value in {**arrays(), **changes}.items() if value is not None}
    np.savez(path, **made)
    return path


def test_digits_are_always_split_the_same_way() -> None:
    digits = load_images("digits")
    assert digits.facts.name == "digits"
    assert (digits.facts.n_train, digits.facts.n_test, digits.facts.form.size) == (1297, 500, 8)
    assert digits.x_train.dtype == np.uint8
    assert digits.x_train.max() == 255
    # Every class has its share on both sides, and no image stands on both.
    assert np.bincount(digits.y_test).min() > 35
    again = load_images("digits", size=16)
    np.testing.assert_array_equal(again.y_train, digits.y_train)
    assert again.x_train.shape == (1297, 1, 16, 16)
    means = digits.x_train.mean(axis=(1, 2, 3)), again.x_train.mean(axis=(1, 2, 3))
    assert np.corrcoef(*means)[0, 1] > 0.99


def test_grey_npz(tmp_path: Path) -> None:
    path = save(tmp_path)
    images = load_images(path)
    assert images.name == "mine"
    assert images.n_classes == 4
    np.testing.assert_array_equal(images.x_test[:, 0], arrays()["x_test"])


def test_colour_becomes_grey_by_the_mean_of_the_channels(tmp_path: Path) -> None:
    colour = arrays(shape=(6, 6, 3))
    path = save(tmp_path, **colour)
    assert load_images(path).x_train.shape == (20, 3, 6, 6)
    grey = load_images(path, channels=1).x_train
    np.testing.assert_allclose(grey[:, 0], colour["x_train"].mean(axis=3), atol=0.5)
    assert grey.dtype == np.uint8


def test_grey_becomes_colour(tmp_path: Path) -> None:
    images = load_images(save(tmp_path), channels=3)
    assert images.x_train.shape == (20, 3, 6, 6)
    np.testing.assert_array_equal(images.x_train[:, 0], images.x_train[:, 2])


@pytest.mark.parametrize(("divide", "subtract"), [(255, 0), (1, 0), (127.5, 1)])
def test_floating_point_is_scaled_to_minus_one_to_one(
    tmp_path: Path, divide: float, subtract: float
) -> None:
    made = arrays()
    floats = {
        name: (values / divide - subtract).astype(np.float64)
        for name, values in made.items()
        if name.startswith("x")
    }
    images = load_images(save(tmp_path, **floats))
    assert images.x_train.dtype == np.float32
    np.testing.assert_allclose(images.x_train[:, 0], made["x_train"] / 127.5 - 1, atol=1e-5)


def test_labels_of_any_numbers_and_shapes(tmp_path: Path) -> None:
    labels = np.array([[5], [9], [5], [7]] * 5)
    images = load_images(save(tmp_path, y_train=labels, y_test=labels))
    assert images.y_train[:4].tolist() == [0, 2, 0, 1]
    assert images.n_classes == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None, "y_test": None}, "lacks the arrays x_test, y_test"),
        ({"y_train": np.arange(19)}, "one integer label for each"),
        ({"y_train": np.linspace(0, 1, 20)}, "one whole number"),
        ({"y_test": np.full(20, 9)}, r"\[9\] of mine are among the test labels only"),
        ({"x_train": np.zeros((20, 5, 6), np.uint8)}, "are not square"),
        ({"x_train": np.zeros((20, 36), np.uint8)}, "height, width"),
        ({"x_train": np.zeros((20, 0, 2**40), np.uint8)}, "height, width"),
        ({"x_train": np.uint8(1)}, "a single number"),
        ({"y_test": np.uint8(1)}, "a single number"),
        ({"x_train": np.full((20, 6, 6), 300.0)}, r"\[0, 255\]"),
        ({"x_test": np.zeros((20, 7, 7), np.uint8)}, "differ in shape"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ZooError, match=message):
        load_images(save(tmp_path, **changes))


def test_damaged_npz(tmp_path: Path) -> None:
    path = save(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableFileError, match=r"mine\.npz"):
        load_images(path)
    np.savez(path, **{**arrays(), "x_train": np.array([{}] * 20)})
    with pytest.raises(UnreadableFileError, match="plain arrays"):
        load_images(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(tmp_path: Path) -> None:
    path = save(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_test.npy", archive.read("x_train.npy"))
    with pytest.raises(UnreadableFileError, match="two members named"):
        load_images(path)


def write_idx(path: Path, values: np.ndarray) -> None:
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    content = head + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_idx_folder(folder: Path, ending: str = ".gz") -> None:
    made = arrays()
    for stem, name in (
        ("train-images-idx3", "x_train"),
        ("train-labels-idx1", "y_train"),
        ("t10k-images-idx3", "x_test"),
        ("t10k-labels-idx1", "y_test"),
    ):
        write_idx(folder / f"{stem}-ubyte{ending}", made[name])


@pytest.mark.parametrize("ending", [".gz", ""])
def test_idx_folder(tmp_path: Path, ending: str) -> None:
    write_idx_folder(tmp_path, ending)
    images = load_images(tmp_path)
    np.testing.assert_array_equal(images.x_train[:, 0], arrays()["x_train"])
    np.testing.assert_array_equal(images.y_test, arrays()["y_test"])


def test_fashion_mnist_of_the_debian_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_idx_folder(tmp_path)
    monkeypatch.setitem(datasets.DEBIAN_FOLDERS, "fashion_mnist", tmp_path)
    images = load_images("fashion_mnist")
    assert (images.name, len(images.x_train)) == ("fashion_mnist", 20)


@pytest.mark.parametrize("damage", ["short", "type", "gzip", "head", "axes"])
def test_damaged_idx_files(tmp_path: Path, damage: str) -> None:
    write_idx_folder(tmp_path, "" if damage != "gzip" else ".gz")
    path = next(tmp_path.glob("train-images*"))
    content = path.read_bytes()
    if damage == "type":
        path.write_bytes(b"\0\0\x0d" + content[3:])
    elif damage == "head":
        path.write_bytes(content[:3])
    elif damage == "axes":
        path.write_bytes(bytes([0, 0, 8, 255]) + 255 * b"\0\0\0\1" + b"\0")
    else:
        path.write_bytes(content[:-10])
    with pytest.raises(UnreadableFileError, match="train-images"):
        load_images(tmp_path)


def fake_library(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, **contents: object
) -> None:
    """Stand in for a library whose downloads need a connection."""
    monkeypatch.setattr(
        datasets.importlib.util, "find_spec", lambda wanted: True if wanted == name else None
    )
    made = types.ModuleType(module)
    vars(made).update(contents)
    monkeypatch.setitem(sys.modules, module, made)


def test_keras_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    made = arrays(shape=(6, 6, 3))

    def load_data() -> tuple:
        labels = made["y_train"][:, None]
        return (made["x_train"], labels), (made["x_test"], labels)

    fake_library(monkeypatch, "keras", "keras.datasets.cifar10", load_data=load_data)
    images = load_images("cifar10", channels=1)
    assert (images.name, images.x_train.shape) == ("cifar10", (20, 1, 6, 6))


def test_torchvision_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    made = arrays(shape=(3, 6, 6))

    class SVHN:
        def __init__(self, root: str, split: str, download: bool) -> None:
            assert download
            assert root.endswith("svhn")
            self.data, self.labels = made[f"x_{split}"], made[f"y_{split}"]

    fake_library(monkeypatch, "torchvision", "torchvision.datasets", SVHN=SVHN)
    images = load_images("svhn")
    np.testing.assert_array_equal(images.x_train, made["x_train"])
    np.testing.assert_array_equal(images.y_test, made["y_test"])


def test_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_data() -> None:
        raise OSError("no route to host")

    fake_library(monkeypatch, "keras", "keras.datasets.mnist", load_data=load_data)
    with pytest.raises(ZooError, match=r"OSError \(no route to host\)\. Without a connection"):
        load_images("mnist")


def test_nothing_to_download_with(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_library(monkeypatch, "neither", "neither")
    with pytest.raises(MissingDependencyError, match="keras or torchvision"):
        load_images("mnist")
    with pytest.raises(MissingDependencyError, match="downloaded with torchvision"):
        load_images("svhn")


@pytest.mark.parametrize("name", ["imagenet", "keras:svhn", "keras:imagenet", "missing.npz"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ZooError, match=r"is no data set|cannot be downloaded"):
        load_images(name)


@given(height=st.integers(1, 20), width=st.integers(1, 20), size=st.integers(1, 20))
def test_resizing_keeps_an_even_image_even(height: int, width: int, size: int) -> None:
    even = resize(np.full((2, 1, height, width), 77, np.uint8), size)
    assert even.shape == (2, 1, size, size)
    assert (even == 77).all()


@given(factor=st.integers(1, 4))
def test_shrinking_lets_every_pixel_count(factor: int) -> None:
    image = np.zeros((1, 1, 6 * factor, 6 * factor), np.float32)
    image[0, 0, ::factor, ::factor] = 1
    shrunk = resize(image, 6)
    assert shrunk.mean() == pytest.approx(1 / factor**2, rel=0.35)
    assert shrunk.min() > 0


def test_a_backend_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras without TensorFlow is no trouble with the connection."""

    def fail(_: str) -> None:
        raise ModuleNotFoundError("No module named 'tensorflow'")

    monkeypatch.setattr(datasets, "_from_keras", fail)
    with pytest.raises(MissingDependencyError, match=r"tensorflow.*KERAS_BACKEND"):
        load_images("keras:cifar10")
