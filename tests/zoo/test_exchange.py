from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.exchange import export_zoo, import_zoo
from accuracy_from_weights.zoo.metrics import read_metrics
from accuracy_from_weights.zoo.network_file import StoredNetwork
from accuracy_from_weights.zoo.store import ZooStore

WriteZoo = Callable[..., Path]


def test_in_and_out_again(published_zoo: WriteZoo, tmp_path: Path) -> None:
    folder = published_zoo()
    weights = np.load(folder / "weights.npy")
    weights[4] = np.nan
    np.save(folder / "weights.npy", weights)
    store = import_zoo(folder, tmp_path / "imported")
    assert store.indices() == list(range(12))
    kernel = next(v for k, v in store.read(1).weights.items() if k.endswith("conv2d_1.weight"))
    assert kernel[0, 4, 9, 2, 1] == weights[3, 176:2480].reshape(3, 3, 16, 16)[2, 1, 9, 4]
    export_zoo(store.folder, tmp_path / "exported")
    np.testing.assert_array_equal(np.load(tmp_path / "exported" / "weights.npy"), weights)
    assert (tmp_path / "exported" / "layout.csv").read_bytes() == (
        folder / "layout.csv"
    ).read_bytes()
    before, after = read_metrics(folder), read_metrics(tmp_path / "exported")
    for name in ("runs", "steps", "test_accuracy", "test_loss", "train_accuracy", "train_loss"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    np.testing.assert_array_equal(before.recipe["learning_rate"], after.recipe["learning_rate"])
    assert set(after.recipe["dataset"]) == {"published"}


def test_an_import_goes_on_where_it_stopped(published_zoo: WriteZoo, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise Stopped

    with pytest.raises(Stopped):
        import_zoo(published_zoo(), tmp_path / "imported", progress=stop)
    store = ZooStore(tmp_path / "imported")
    assert store.indices() == list(range(5))
    kept = store.path(2).stat().st_mtime_ns
    import_zoo(published_zoo(), store.folder)
    assert store.indices() == list(range(12))
    assert store.path(2).stat().st_mtime_ns == kept


def test_half_precision(published_zoo: WriteZoo, tmp_path: Path) -> None:
    export_zoo(published_zoo(), tmp_path / "half", dtype="float16")
    assert np.load(tmp_path / "half" / "weights.npy").dtype == np.float16
    with pytest.raises(ZooError, match="float32 or float16"):
        export_zoo(published_zoo(), tmp_path / "eighth", dtype="float8")


def network(store: ZooStore, index: int, **tensors: np.ndarray) -> StoredNetwork:
    return StoredNetwork({**store.read(0).header, "index": index, "run": str(index)}, tensors)


@pytest.mark.parametrize("kind", ["architectures", "batch normalisation", "other layers"])
def test_zoos_that_the_format_cannot_hold(
    published_zoo: WriteZoo, tmp_path: Path, kind: str
) -> None:
    store = import_zoo(published_zoo(n_runs=2), tmp_path / "imported")
    kernel = np.ones((3, 5, 4, 3, 3), np.float32)
    ones = np.ones((3, 5), np.float32)
    tensors = {"conv.weight": kernel, "conv.bias": ones}
    message = "several"
    if kind == "batch normalisation":
        names = ("weight", "bias", "running_mean", "running_var")
        tensors |= {f"bn.{name}": ones for name in names}
        message = "has batch normalisation"
    elif kind == "other layers":
        tensors = {"conv.weight": kernel[:, :, :1], "norm.weight": ones, "norm.bias": ones}
        message = "dense layers and convolutions alone"
    with store.writing() as writer:
        writer.add(network(store, 2, **tensors))
    with pytest.raises(ZooError, match=message):
        export_zoo(store.folder, tmp_path / "exported")
    assert list((tmp_path / "exported").glob("*")) == []


def test_only_published_zoos_are_imported(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"weights\.npy, metrics\.csv\.gz and layout\.csv"):
        import_zoo(tmp_path, tmp_path / "imported")
