from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from accuracy_from_weights.errors import AccuracyFromWeightsError, UnreadableFileError, ZooError
from accuracy_from_weights.features.description import FEATURE_NAMES, describe
from accuracy_from_weights.features.paper import paper_statistics
from accuracy_from_weights.zoo import published
from accuracy_from_weights.zoo.exchange import export_zoo, import_zoo
from accuracy_from_weights.zoo.network_file import StoredNetwork
from accuracy_from_weights.zoo.published import open_published, read_chunk
from accuracy_from_weights.zoo.reading import read_zoo
from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo.store import ZooStore
from accuracy_from_weights.zoo.table import ZooTable, concatenate
from accuracy_from_weights.zoo_training.builder import build_zoo
from accuracy_from_weights.zoo_training.training import ImageData

WriteZoo = Callable[..., Path]


def assert_same_table(one: ZooTable, other: ZooTable) -> None:
    for field in dataclasses.fields(ZooTable):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if field.name == "hyperparameters":
            assert first.keys() == second.keys()
            for name, values in first.items():
                np.testing.assert_array_equal(values, second[name])
        elif isinstance(first, np.ndarray):
            assert first.dtype.kind == second.dtype.kind
            np.testing.assert_array_equal(first, second)
        else:
            assert first == second


def test_a_published_zoo_as_a_table(published_zoo: WriteZoo) -> None:
    folder = published_zoo()
    seen = []
    table = read_zoo(folder, progress=lambda *step: seen.append(step))
    stack = read_chunk(folder, open_published(folder).layout, 0, 36)
    with threadpool_limits(1):  # as many threads add in another order
        np.testing.assert_array_equal(table.features, describe(stack))
    np.testing.assert_array_equal(table.paper_statistics, paper_statistics(stack))
    assert table.feature_names == FEATURE_NAMES
    assert table.runs[[0, 2, 3, -1]].tolist() == [
        "runs/0000",
        "runs/0000",
        "runs/0001",
        "runs/0011",
    ]
    assert set(table.datasets) == {"published"}
    assert table.steps[:4].tolist() == [0, 1, 2, 0]
    assert table.hyperparameters.keys() == {"activation", "learning_rate"}
    assert np.isnan(table.train_loss).all()
    assert len(table.fingerprint) == 64
    assert seen[0] == (0, 36)
    assert seen[-1] == (36, 36)


def test_processes_and_pieces_do_not_change_the_table(
    published_zoo: WriteZoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = published_zoo()
    whole = read_zoo(folder)
    monkeypatch.setattr("accuracy_from_weights.zoo.sources.CHUNK_ROWS", 10)
    with threadpool_limits(2):  # one thread belongs to the processes
        in_pieces = read_zoo(folder)
    np.testing.assert_allclose(in_pieces.features, whole.features, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(in_pieces.accuracy, whole.accuracy)
    assert_same_table(read_zoo(folder, n_jobs=2), in_pieces)


def test_the_fingerprint_depends_on_weights_and_metrics(published_zoo: WriteZoo) -> None:
    folder = published_zoo()
    fingerprints = {read_zoo(folder).fingerprint}
    weights = np.load(folder / "weights.npy")
    weights[-1, -1] += 1
    np.save(folder / "weights.npy", weights)
    fingerprints.add(read_zoo(folder).fingerprint)
    metrics = (folder / "metrics.csv").read_text()
    (folder / "metrics.csv").write_text(metrics.replace("1.5", "1.6"))
    fingerprints.add(read_zoo(folder).fingerprint)
    assert len(fingerprints) == 3


def test_checkpoints_without_accuracy_are_left_out(published_zoo: WriteZoo) -> None:
    folder = published_zoo()
    lines = (folder / "metrics.csv").read_text().splitlines()
    fields = lines[2].split(",")
    fields[5] = "nan"
    lines[2] = ",".join(fields)
    (folder / "metrics.csv").write_text("\n".join(lines))
    table = read_zoo(folder)
    assert len(table) == 35
    assert table.steps[:3].tolist() == [0, 2, 0]
    assert len(table.features) == len(table.paper_statistics) == 35


def test_a_table_on_disk(published_zoo: WriteZoo, tmp_path: Path) -> None:
    table = read_zoo(published_zoo())
    path = tmp_path / "table.npz"
    table.save(path)
    assert_same_table(ZooTable.load(path), table)
    assert_same_table(read_zoo(path), table)
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype.kind != "O" for name in file.files)
    without = dataclasses.replace(table, paper_statistics=None)
    without.save(path)
    assert ZooTable.load(path).paper_statistics is None
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["table.npz"]


def test_a_compact_table(published_zoo: WriteZoo, tmp_path: Path) -> None:
    table = read_zoo(published_zoo())
    odd = table.features.copy()
    odd[0, :5] = [np.nan, np.inf, -np.inf, 0, np.finfo(np.float32).max]
    table = dataclasses.replace(table, features=odd)
    table.save(tmp_path / "exact.npz")
    table.save(tmp_path / "compact.npz", compact=True)
    assert_same_table(ZooTable.load(tmp_path / "exact.npz"), table)
    rounded = ZooTable.load(tmp_path / "compact.npz")
    np.testing.assert_allclose(rounded.features, odd, rtol=1 / 256, atol=1e-30)
    assert not np.array_equal(rounded.paper_statistics, table.paper_statistics)
    np.testing.assert_array_equal(rounded.accuracy, table.accuracy)
    sizes = [(tmp_path / f"{name}.npz").stat().st_size for name in ("compact", "exact")]
    assert sizes[0] < 0.6 * sizes[1]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"text"])
def test_damaged_tables(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.npz"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"table\.npz"):
        read_zoo(path)


def test_tables_of_other_versions(
    published_zoo: WriteZoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read_zoo(published_zoo())
    path = tmp_path / "table.npz"
    renamed = dataclasses.replace(table, feature_names=("other", *table.feature_names[1:]))
    renamed.save(path)
    with pytest.raises(ZooError, match="Describe its zoo anew"):
        read_zoo(path)
    with pytest.raises(ZooError, match="Describe their zoos anew"):
        concatenate([table, renamed])
    with monkeypatch.context() as patch:
        patch.setattr("accuracy_from_weights.zoo.table_file.TABLE_VERSION", 99)
        table.save(path)
    with pytest.raises(UnreadableFileError, match="version 99"):
        ZooTable.load(path)


def test_a_folder_of_zoos(published_zoo: WriteZoo, tmp_path: Path) -> None:
    zoos = tmp_path / "zoos"
    published_zoo(n_runs=4, folder=zoos / "first")
    published_zoo(n_runs=5, folder=zoos / "second", drop=("config.activation",))
    read_zoo(published_zoo(n_runs=3)).save(zoos / "third.npz")
    table = read_zoo(zoos)
    assert len(table) == 12 * 3
    assert len(set(table.runs)) == 12
    assert sorted(set(table.datasets)) == ["first", "published", "second"]
    activation = table.hyperparameters["activation"]
    assert set(activation[table.datasets == "second"]) == {""}
    assert set(activation[table.datasets == "first"]) == {"relu", "tanh"}


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_no_zoo(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "zoo"
    if kind == "empty":
        path.mkdir()
    with pytest.raises(AccuracyFromWeightsError, match=r"does not exist|is not a zoo"):
        read_zoo(path)


def test_a_built_zoo_and_its_export_are_the_same_table(
    tmp_path: Path, digits: ImageData, tiny_recipe: PaperRecipe
) -> None:
    build_zoo(tmp_path / "built", tiny_recipe, digits, 5)
    export_zoo(tmp_path / "built", tmp_path / "exported")
    built, exported = read_zoo(tmp_path / "built"), read_zoo(tmp_path / "exported")
    np.testing.assert_allclose(built.features, exported.features, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(built.paper_statistics, exported.paper_statistics)
    np.testing.assert_array_equal(built.log_loss, exported.log_loss)
    np.testing.assert_array_equal(built.runs, exported.runs)
    assert built.hyperparameters.keys() == exported.hyperparameters.keys()
    assert set(built.datasets) == {"digits"}


def test_architectures_may_be_mixed(
    tmp_path: Path, digits: ImageData, tiny_recipe: PaperRecipe
) -> None:
    store = build_zoo(tmp_path, tiny_recipe, digits, 2)
    rng = np.random.default_rng(0)
    header = {**store.read(0).header, "index": 2}
    weights = {
        "0.weight": rng.normal(size=(2, 20, 64)).astype(np.float32),
        "0.bias": np.zeros((2, 20), np.float32),
        "2.weight": rng.normal(size=(2, 10, 20)).astype(np.float32),
    }
    with store.writing() as writer:
        writer.add(StoredNetwork(header, weights))
    table = read_zoo(tmp_path)
    assert len(table) == 6
    assert np.isnan(table.paper_statistics).all(axis=1).tolist() == [False] * 4 + [True] * 2
    assert np.isfinite(table.features).all()
    mlp = table.subset(np.arange(6) >= 4)
    assert mlp.paper_statistics is None
    assert len(mlp) == len(mlp.hyperparameters["dropout"]) == 2


def test_memory_is_read_in_pieces(published_zoo: WriteZoo, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more rows than a piece has are ever asked of the file."""
    sizes = []
    original = published.read_rows

    def read_rows(folder: Path, rows: slice) -> np.ndarray:
        read = original(folder, rows)
        sizes.append(len(read))
        return read

    monkeypatch.setattr(published, "read_rows", read_rows)
    monkeypatch.setattr("accuracy_from_weights.zoo.sources.CHUNK_ROWS", 8)
    read_zoo(published_zoo())
    assert sizes == [8, 8, 8, 8, 4]


def test_an_empty_store(tmp_path: Path) -> None:
    with ZooStore(tmp_path).writing() as writer:
        writer.begin({"seed": 0})
    with pytest.raises(ZooError, match="no finished network"):
        read_zoo(tmp_path)


def test_columns_of_different_lengths(published_zoo: WriteZoo) -> None:
    table = read_zoo(published_zoo())
    with pytest.raises(ZooError, match="differ in length"):
        dataclasses.replace(table, accuracy=table.accuracy[1:])


def test_a_thinner_table_keeps_the_last_checkpoint_of_each_run(published_zoo: WriteZoo) -> None:
    table = read_zoo(published_zoo())
    thin = table.thinned(2)
    assert len(thin) == 24
    assert set(thin.runs[thin.steps == 2]) == set(table.runs)
    assert set(thin.steps) == {0, 1, 2}  # the other one is drawn
    assert_same_table(table.thinned(3), table)


@pytest.mark.parametrize("imported", [False, True])
def test_checkpoints_that_are_not_kept_are_not_described(
    imported: bool, published_zoo: WriteZoo, tmp_path: Path
) -> None:
    folder = published_zoo()
    if imported:
        import_zoo(folder, tmp_path / "zoo")
        folder = tmp_path / "zoo"
    seen: list[tuple[int, int]] = []
    thin = read_zoo(folder, probes=True, checkpoints=2, progress=lambda *step: seen.append(step))
    assert (seen[0], seen[-1]) == ((0, 24), (24, 24))
    assert_same_table(thin, read_zoo(folder, probes=True).thinned(2))


def test_mixed_logs_are_those_of_the_loop_or_evaluated(published_zoo: WriteZoo) -> None:
    table = read_zoo(published_zoo())
    n = len(table)
    table = dataclasses.replace(
        table,
        probes=np.zeros((n, len(table.probe_names)), np.float32),
        log_accuracy=np.full(n, 0.25),
        log_loss=np.ones(n),
        train_accuracy=np.where(np.arange(n) < 4, np.nan, 0.75),
        train_loss=np.full(n, 2.0),
    )
    accuracy, loss = table.inputs("weights+probes+log", logs="mixed")[:, -3:-1].T
    assert set(accuracy[:4]) == {0.25}  # never evaluated
    assert set(accuracy[4:]) == {0.25, 0.75}
    np.testing.assert_array_equal(loss, np.where(accuracy == 0.75, 2, 1))
    assert set(table.inputs("weights+probes+log")[:, -3]) == {0.25}
    table = dataclasses.replace(table, log_accuracy=np.full(n, np.nan))
    accuracy = table.inputs("weights+probes+log", logs="mixed")[4:, -3]
    assert set(accuracy) == {0.75}  # nothing else is known


def test_rows_without_answers_are_left_out_where_these_are_read(published_zoo: WriteZoo) -> None:
    table = read_zoo(published_zoo())
    probes = np.zeros((len(table), len(table.probe_names)), np.float32)
    probes[[3, 5]] = np.nan
    features = table.features.copy()
    features[5] = np.nan  # diverged: its row says so whatever it was asked
    table = dataclasses.replace(table, features=features, probes=probes)
    assert len(table.having("weights")) == len(table)
    assert len(table.having("weights+probes")) == len(table) - 1
