from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray

from accuracy_from_weights.errors import AccuracyFromWeightsWarning, ZooError
from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo.store import ZooStore
from accuracy_from_weights.zoo_training.builder import build_zoo
from accuracy_from_weights.zoo_training.datasets import load_images
from accuracy_from_weights.zoo_training.training import ImageData

RECIPE = PaperRecipe(epochs=1, checkpoints=(0, 1), n_train=200, n_test=100)


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_images("digits", size=16)


@pytest.fixture(scope="module")
def whole(digits: ImageData, tmp_path_factory: pytest.TempPathFactory) -> ZooStore:
    return build_zoo(tmp_path_factory.mktemp("whole"), RECIPE, digits, 16)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def assert_same_networks(one: ZooStore, other: ZooStore) -> None:
    assert one.indices() == other.indices()
    for index in one.indices():
        for name, values in one.read(index).weights.items():
            np.testing.assert_allclose(
                values, other.read(index).weights[name], rtol=1e-4, atol=1e-5
            )


def workers() -> list[int]:
    """Processes of Ray's actors on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = path.read_bytes().split(b"\0")[0]
        except OSError:
            continue
        if title.startswith(b"ray::PoolActor"):
            found.append(int(path.parent.name))
    return found


def test_a_cluster_of_its_own(tmp_path: Path, digits: ImageData, whole: ZooStore) -> None:
    store = build_zoo(tmp_path, RECIPE, digits, 16, engine="ray", n_jobs=2)
    assert_same_networks(store, whole)
    assert not ray.is_initialized()


def test_nobody_at_the_address(tmp_path: Path, digits: ImageData) -> None:
    with pytest.raises(ZooError, match="Ray cluster at"):
        build_zoo(tmp_path, RECIPE, digits, 1, engine="ray", address="127.0.0.1:1")


def test_networks_are_written_as_they_are_done(
    tmp_path: Path, digits: ImageData, cluster: None
) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        build_zoo(tmp_path, RECIPE, digits, 10_000, engine="ray", progress=stop)
    assert len(ZooStore(tmp_path).indices()) == 3


def test_nothing_is_lost_with_a_worker(
    tmp_path: Path, digits: ImageData, whole: ZooStore, cluster: None
) -> None:
    killed = []

    def kill_one(done: int, total: int) -> None:
        if done == 4 and not killed:
            killed.append(max(workers()))
            os.kill(killed[0], signal.SIGKILL)

    with pytest.warns(AccuracyFromWeightsWarning, match="A worker died"):
        store = build_zoo(tmp_path, RECIPE, digits, 16, engine="ray", progress=kill_one)
    assert_same_networks(store, whole)
