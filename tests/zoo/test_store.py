from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.network_file import StoredNetwork
from accuracy_from_weights.zoo.store import ZooStore
from accuracy_from_weights.zoo.summary import summarise

PLAN = {"recipe": {"family": "paper"}, "seed": 0}


def network(index: int, scale: float = 1.0, width: int = 3) -> StoredNetwork:
    rng = np.random.default_rng(index)
    others = ("test_loss", "train_accuracy", "train_loss", "log_accuracy", "log_loss")
    history = {name: [None, 0.5] for name in others}
    header = {
        "index": index,
        "recipe": None,
        "hyperparameters": {"dataset": "made up", "learning_rate": 0.1, "dropout": 0.25},
        "steps": [0.0, 1.0],
        "history": {"test_accuracy": [0.1, 0.6], **history},
        "diverged": False,
        "seconds": 1.0,
    }
    weights = {
        "0.weight": scale * rng.normal(size=(2, width, 4)).astype(np.float32),
        "0.bias": np.zeros((2, width), np.float32),
    }
    return StoredNetwork(header, weights)


def files(store: ZooStore) -> list[str]:
    return sorted(path.name for path in store.networks.iterdir())


@pytest.fixture
def store(tmp_path: Path) -> ZooStore:
    return ZooStore(tmp_path / "zoo")


def test_what_is_written_is_read(store: ZooStore) -> None:
    with store.writing() as writer:
        writer.begin(PLAN)
        for index in (2, 0):
            writer.add(network(index))
        assert writer.missing(4) == [1, 3]
    assert store.indices() == [0, 2]
    again = store.read(2)
    assert again.header == network(2).header
    assert list(again.weights) == ["0.weight", "0.bias"]
    np.testing.assert_array_equal(again.weights["0.weight"], network(2).weights["0.weight"])
    np.testing.assert_array_equal(
        again.state_dict(1)["0.weight"], network(2).weights["0.weight"][1]
    )
    assert store.plan()["seed"] == 0


def test_half_precision_unless_weights_overflow(store: ZooStore) -> None:
    with store.writing() as writer:
        writer.add(network(0), "float16")
        writer.add(network(1, scale=1e6), "float16")
    small, large = store.read(0), store.read(1)
    assert small.weights["0.weight"].dtype == np.float16
    np.testing.assert_allclose(
        small.weights["0.weight"], network(0).weights["0.weight"], rtol=1e-3, atol=1e-6
    )
    np.testing.assert_array_equal(large.weights["0.weight"], network(1, 1e6).weights["0.weight"])


def test_networks_with_nan_are_kept(store: ZooStore) -> None:
    diverged = network(0)
    diverged.weights["0.weight"][1] = np.nan
    diverged.header["diverged"] = True
    diverged.header["history"]["test_accuracy"] = [0.1, None]
    with store.writing() as writer:
        writer.begin(PLAN)
        writer.add(diverged, "float16")
        writer.add(network(1))
    assert np.isnan(store.read(0).weights["0.weight"][1]).all()
    (summary,) = summarise(store.folder)
    assert (summary["networks"], summary["diverged"]) == (2, 1)
    assert summary["checkpoints_without_accuracy"] == 1
    assert summary["final_accuracy"]["least"] == 0.1


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_full_disk_breaks_nothing(
    store: ZooStore, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with store.writing() as writer:
        writer.begin(PLAN)
        writer.add(network(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, failing, fail)
            with pytest.raises(ZooError, match=r"No space left on device.*1 networks") as caught:
                writer.add(network(1))
        assert "\n" not in str(caught.value)
        assert files(store) == ["000000.npz"]
        writer.add(network(1))
    assert store.indices() == [0, 1]


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """The system itself refuses to write on, in the middle of a file."""
    script = f"""
import resource
from tests.zoo.test_store import PLAN, network
from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.store import ZooStore
with ZooStore({str(tmp_path)!r}).writing() as writer:
    writer.begin(PLAN)
    writer.add(network(0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        writer.add(network(1, width=10_000))
    except ZooError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert "File too large" in done.stdout
    assert files(ZooStore(tmp_path)) == ["000000.npz"]
    assert ZooStore(tmp_path).read(0).header["steps"] == [0.0, 1.0]


def test_second_builder_gets_one_sentence(store: ZooStore) -> None:
    with store.writing() as writer:
        writer.begin(PLAN)
        with pytest.raises(ZooError, match="Another process is building"), store.writing():
            pass
        writer.add(network(0))
    with store.writing() as writer:
        assert writer.missing(1) == []


def test_another_plan_is_refused(store: ZooStore) -> None:
    with store.writing() as writer:
        writer.begin(PLAN)
    with store.writing() as writer:
        writer.begin(PLAN)
        with pytest.raises(ZooError, match=r"another seed: seed is 0 there and 1 now"):
            writer.begin({**PLAN, "seed": 1})


def test_leftovers_and_damaged_networks_are_made_anew(store: ZooStore) -> None:
    with store.writing() as writer:
        writer.begin(PLAN)
        for index in range(3):
            writer.add(network(index))
    (store.networks / ".000003.npz.0a1b2c3d.tmp").write_bytes(b"half a net")
    store.path(1).write_bytes(store.path(1).read_bytes()[:500])
    store.path(2).write_bytes(b"")
    with pytest.raises(ZooError, match=r"000001\.npz.*Remove the file"):
        list(store.headers())
    with store.writing() as writer:
        assert writer.missing(4) == [1, 2, 3]
    assert files(store) == ["000000.npz"]


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ZooError, match="Networks cannot be written to"),
        ZooStore(tmp_path / "file").writing(),
    ):
        pass


@pytest.mark.parametrize("content", [None, "{", "[]", '{"format_version": 2}'])
def test_folders_that_are_no_zoo(store: ZooStore, content: str | None) -> None:
    if content is not None:
        store.folder.mkdir()
        (store.folder / "zoo.json").write_text(content)
    with pytest.raises(ZooError, match=r"is not a zoo|format version"):
        store.plan()
