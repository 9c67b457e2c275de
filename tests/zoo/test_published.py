from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.errors import AccuracyFromWeightsWarning, ZooError
from accuracy_from_weights.weights.layers import Layer, NetworkStack
from accuracy_from_weights.zoo.published import (
    layout_of,
    open_published,
    read_chunk,
    rows_of,
    stack_from_rows,
    write_layout,
)

WriteZoo = Callable[..., Path]


def edit(path: Path, pattern: str, replacement: str) -> None:
    path.write_text(re.sub(pattern, replacement, path.read_text(), count=1))


def test_kernels_come_as_out_in_height_width(published_zoo: WriteZoo) -> None:
    folder = published_zoo()
    rows = np.load(folder / "weights.npy")
    zoo = open_published(folder)
    stack = read_chunk(folder, zoo.layout, 0, 30)
    assert stack.n_networks == 30
    assert len(zoo.metrics) == 36
    assert [layer.kind for layer in stack.layers] == ["conv", "conv", "conv", "dense"]
    second = stack.layers[1]
    as_stored = rows[7, 176:2480].reshape(3, 3, 16, 16)
    assert second.kernel[7, 4, 9, 2, 1] == as_stored[2, 1, 9, 4]
    np.testing.assert_array_equal(second.bias[7], rows[7, 160:176])
    dense = stack.layers[3]
    assert dense.kernel[7, 8, 3] == rows[7, 4810:4970].reshape(16, 10)[3, 8]


@pytest.mark.parametrize(("stored", "read"), [("float16", "float32"), ("float64", "float64")])
def test_precisions(published_zoo: WriteZoo, stored: str, read: str) -> None:
    folder = published_zoo(dtype=stored)
    stack = read_chunk(folder, open_published(folder).layout, 0, 36)
    assert stack.layers[0].kernel.dtype == read
    np.testing.assert_array_equal(stack.layers[0].bias, np.load(folder / "weights.npy")[:, :16])


def test_rows_with_nan_are_kept(published_zoo: WriteZoo) -> None:
    folder = published_zoo()
    weights = np.load(folder / "weights.npy")
    weights[5] = np.nan
    np.save(folder / "weights.npy", weights)
    stack = read_chunk(folder, open_published(folder).layout, 0, 36)
    assert np.isnan(stack.layers[2].kernel).all(axis=(1, 2, 3, 4)).nonzero()[0].tolist() == [5]


def test_columns_of_the_weights_that_lie_otherwise_in_memory(published_zoo: WriteZoo) -> None:
    folder = published_zoo()
    weights = np.load(folder / "weights.npy")
    np.save(folder / "weights.npy", np.asfortranarray(weights.astype(">f4")))
    stack = read_chunk(folder, open_published(folder).layout, 0, 36)
    np.testing.assert_array_equal(stack.layers[0].bias, weights[:, :16])


def test_losses_may_be_missing(published_zoo: WriteZoo) -> None:
    metrics = open_published(published_zoo(drop=("test_loss", "train_accuracy"))).metrics
    assert np.isnan(metrics.test_loss).all()
    assert np.isnan(metrics.train_accuracy).all()
    assert np.isnan(metrics.train_loss).all()
    assert metrics.recipe["learning_rate"][3] == 0.002
    assert metrics.recipe["activation"].tolist()[2:4] == ["relu", "tanh"]


@pytest.mark.parametrize("drop", [("modeldir",), ("modeldir", "config.learning_rate")])
def test_runs_are_found_without_their_names(published_zoo: WriteZoo, drop: tuple[str, ...]) -> None:
    folder = published_zoo(drop=drop)
    with pytest.warns(AccuracyFromWeightsWarning, match="no column modeldir"):
        runs = open_published(folder).metrics.runs
    assert np.unique(runs, return_inverse=True)[1].tolist() == np.repeat(range(12), 3).tolist()


def test_recipes_tell_runs_apart_when_rows_are_shuffled(published_zoo: WriteZoo) -> None:
    folder = published_zoo(drop=("modeldir",))
    header, *lines = (folder / "metrics.csv").read_text().splitlines()
    order = np.random.default_rng(1).permutation(len(lines))
    (folder / "metrics.csv").write_text("\n".join([header, *(lines[i] for i in order)]))
    with pytest.warns(AccuracyFromWeightsWarning):
        runs = open_published(folder).metrics.runs
    groups = {}
    for run, row in zip(runs.tolist(), order.tolist(), strict=True):
        groups.setdefault(run, set()).add(row // 3)
    assert len(groups) == 12
    assert all(len(rows) == 1 for rows in groups.values())


@pytest.mark.parametrize("name", ["weights.npy", "metrics.csv", "layout.csv"])
def test_missing_file_is_named(published_zoo: WriteZoo, name: str) -> None:
    folder = published_zoo()
    (folder / name).unlink()
    with pytest.raises(ZooError, match=name.replace(".csv", r"\.csv")):
        open_published(folder)


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "message"),
    [
        ("layout.csv", r"4810,4970,160", "4810,4960,150", "without gaps"),
        ("layout.csv", r"\n[^\n]*dense/kernel[^\n]*", "", "every column|outputs"),
        ("layout.csv", r"conv2d_1/kernel", "conv2d_1/gamma", "kernel and at most one bias"),
        ("layout.csv", r"end_idx", "stop", "start_idx, end_idx"),
        ("layout.csv", r"conv2d_1/bias", "elsewhere/bias", "no outputs"),
        ("metrics.csv", r"test_accuracy", "accuracy", "no column test_accuracy"),
        ("metrics.csv", r",step,", ",epoch,", "no column step"),
        ("metrics.csv", r"\n0,relu", "\n0,relu,extra", "has 10 fields"),
        ("metrics.csv", r"\n35,[^\n]*", "", "35 lines of metrics for 36 rows"),
        ("metrics.csv", r"0\.\d+,1\.5", "67.2,1.5", "instead of lying in \\[0, 1\\]"),
        ("metrics.csv", r"0\.\d+,1\.5", "good,1.5", "other than numbers"),
        ("metrics.csv", r"runs/0003,0", "runs/0003,first", "whose step is not a number"),
        ("metrics.csv", r"(?s)\n.*", "\n", "no line below"),
    ],
)
def test_files_that_do_not_fit(
    published_zoo: WriteZoo, file: str, pattern: str, replacement: str, message: str
) -> None:
    folder = published_zoo()
    edit(folder / file, pattern, replacement)
    with pytest.raises(ZooError, match=message) as caught:
        open_published(folder)
    assert "\n" not in str(caught.value)


def test_no_accuracy_is_known(published_zoo: WriteZoo) -> None:
    folder = published_zoo()
    path = folder / "metrics.csv"
    path.write_text(re.sub(r"0\.\d+,1\.5", ",1.5", path.read_text()))
    with pytest.raises(ZooError, match="nothing can be learned"):
        open_published(folder)


@pytest.mark.parametrize("damage", ["truncated", "text", "integers", "flat", "pickled"])
def test_damaged_weights(published_zoo: WriteZoo, damage: str) -> None:
    path = published_zoo() / "weights.npy"
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        path.write_text("weights")
    elif damage == "integers":
        np.save(path, np.zeros((36, 4970), int))
    elif damage == "flat":
        np.save(path, np.zeros(36 * 4970))
    else:
        np.save(path, np.array([{}] * 36), allow_pickle=True)
    with pytest.raises(ZooError, match=r"weights\.npy"):
        open_published(path.parent)


def test_damaged_gzip(published_zoo: WriteZoo) -> None:
    folder = published_zoo()
    (folder / "metrics.csv").unlink()
    (folder / "metrics.csv.gz").write_bytes(b"\x1f\x8b\x08 no gzip")
    with pytest.raises(ZooError, match="complete table"):
        open_published(folder)


def test_layout_and_rows_invert_each_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    layers = (
        Layer("a", "conv", rng.normal(size=(5, 7, 2, 3, 4)), rng.normal(size=(5, 7))),
        Layer("b", "conv", rng.normal(size=(5, 3, 7, 5))),
        Layer("c", "dense", rng.normal(size=(5, 4, 3)), rng.normal(size=(5, 4))),
    )
    stack = NetworkStack(layers, 5)
    layout = layout_of(stack)
    assert [(v.name, v.shape) for v in layout] == [
        ("sequential/conv2d/bias:0", (7,)),
        ("sequential/conv2d/kernel:0", (3, 4, 2, 7)),
        ("sequential/conv1d/kernel:0", (5, 7, 3)),
        ("sequential/dense/bias:0", (4,)),
        ("sequential/dense/kernel:0", (3, 4)),
    ]
    again = stack_from_rows(rows_of(stack), layout)
    for before, after in zip(layers, again.layers, strict=True):
        for one, other in zip(before.arrays, after.arrays, strict=True):
            np.testing.assert_array_equal(one, other)
    write_layout(tmp_path / "layout.csv", layout)
    assert '"(7,)"' in (tmp_path / "layout.csv").read_text()


def test_the_format_holds_no_other_layers() -> None:
    stack = NetworkStack((Layer("emb", "embedding", np.zeros((1, 4, 3))),), 1)
    with pytest.raises(ZooError, match="emb"):
        layout_of(stack)
