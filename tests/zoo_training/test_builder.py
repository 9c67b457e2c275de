from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accuracy_from_weights.errors import AccuracyFromWeightsWarning, ZooError
from accuracy_from_weights.zoo.recipes.data_facts import DataFacts
from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.store import ZooStore
from accuracy_from_weights.zoo_training.builder import batch_alike, build_zoo
from accuracy_from_weights.zoo_training.engines import open_engine
from accuracy_from_weights.zoo_training.training import ImageData
from tests.zoo_training.kill_builder import RECIPE, random_images

HERE = Path(__file__).parent


def marks(store: ZooStore) -> dict[int, tuple[int, int]]:
    """What changes when a file is written again."""
    stats = {index: store.path(index).stat() for index in store.indices()}
    return {index: (stat.st_ino, stat.st_mtime_ns) for index, stat in stats.items()}


def assert_same_networks(one: ZooStore, other: ZooStore) -> None:
    assert one.indices() == other.indices()
    for index in one.indices():
        first, second = one.read(index), other.read(index)
        assert first.header["recipe"] == second.header["recipe"]
        for name, values in first.weights.items():
            np.testing.assert_allclose(values, second.weights[name], rtol=1e-4, atol=1e-5)


def test_networks_carry_all_that_is_known(
    tmp_path: Path, digits: ImageData, tiny_recipe: PaperRecipe
) -> None:
    seen = []
    store = build_zoo(
        tmp_path, tiny_recipe, digits, 3, seed=5, progress=lambda *step: seen.append(step)
    )
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    network = store.read(1)
    assert network.header["recipe"] == tiny_recipe.draw(1, 5, digits.facts).to_dict()
    assert network.header["steps"] == [0.0, 1.0]
    assert all(len(values) == 2 for values in network.weights.values())
    history = network.header["history"]
    assert all(0 <= accuracy <= 1 for accuracy in history["test_accuracy"])
    assert history["log_loss"][0] is None
    assert history["log_loss"][1] > 0
    assert network.header["versions"].keys() >= {"python", "numpy", "torch"}
    assert network.header["made_by"]["backend"] == "torch"
    assert store.plan()["data"]["name"] == "digits"


def test_more_networks_of_the_same_zoo(
    tmp_path: Path, digits: ImageData, tiny_recipe: PaperRecipe
) -> None:
    store = build_zoo(tmp_path / "grown", tiny_recipe, digits, 2)
    before = marks(store)
    build_zoo(tmp_path / "grown", tiny_recipe, digits, 5, at_once=3)
    assert before.items() <= marks(store).items()
    assert_same_networks(store, build_zoo(tmp_path / "whole", tiny_recipe, digits, 5, n_jobs=2))
    other = ImageData(
        "digits", digits.x_train[1:], digits.y_train[1:], digits.x_test, digits.y_test, 10
    )
    with pytest.raises(ZooError, match="was begun with another data"):
        build_zoo(tmp_path / "grown", tiny_recipe, other, 6)


def test_batches_hold_recipes_that_go_together(digits: ImageData, tiny_recipe: PaperRecipe) -> None:
    recipes = [tiny_recipe.draw(index, 0, digits.facts) for index in range(50)]
    batches = batch_alike(recipes, 4)
    assert sorted(recipe.index for batch in batches for recipe in batch) == list(range(50))
    assert max(len(batch) for batch in batches) == 4
    for batch in batches:
        assert len({(recipe.architecture, recipe.task.n_train) for recipe in batch}) == 1
    assert [len(batch) for batch in batch_alike(recipes, 1)] == [1] * 50


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Nothing that was complete is lost or made again, and the zoo ends as if left alone."""
    n_networks = 300
    store = ZooStore(tmp_path / "killed")
    rng = np.random.default_rng(0)
    before: dict[int, tuple[int, int]] = {}
    with subprocess.Popen(
        [sys.executable, HERE / "kill_builder.py", store.folder, str(n_networks)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as killer:
        assert killer.stdin is not None
        assert killer.stdout is not None
        for _ in range(20):
            killer.stdin.write(f"{rng.integers(4)} {rng.uniform(0, 30)}\n")
            killer.stdin.flush()
            assert killer.stdout.readline() == "killed\n"
            after = marks(store)
            assert before.items() <= after.items()
            for index in after.keys() - before.keys():
                assert len(store.read(index).header["steps"]) == 2
            before = after
        killer.stdin.close()
    assert 20 < len(before) < n_networks
    n_networks = len(before) + 3
    build_zoo(store.folder, RECIPE, random_images(), n_networks)
    assert before.items() <= marks(store).items()
    assert [path for path in store.networks.iterdir() if path.suffix != ".npz"] == []
    assert_same_networks(store, build_zoo(tmp_path / "whole", RECIPE, random_images(), n_networks))


def test_workers_end_with_their_killed_builder(tmp_path: Path) -> None:
    store = ZooStore(tmp_path / "zoo")
    script = (
        "import sys\n"
        "from tests.zoo_training.kill_builder import RECIPE, random_images\n"
        "from accuracy_from_weights.zoo_training.builder import build_zoo\n"
        "build_zoo(sys.argv[1], RECIPE, random_images(), 100_000, n_jobs=2)\n"
    )
    builder = subprocess.Popen([sys.executable, "-c", script, store.folder], start_new_session=True)
    try:
        wait_until(lambda: len(store.indices()) >= 5)
    finally:
        builder.kill()
        builder.wait()
    before = marks(store)
    wait_until(lambda: not processes_of_session(builder.pid))
    build_zoo(store.folder, RECIPE, random_images(), len(before) + 2, n_jobs=1)
    assert before.items() <= marks(store).items()


class KillsItsWorker(NetworkRecipe):
    """Kills the process that it is sent to, as the system does when memory runs out."""

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return signal.raise_signal, (signal.SIGKILL,)


class KillsOnce:
    """Draws as `RECIPE` does; network 5 kills the first worker that is to train it.

    A kill from outside might find the worker idle, and nothing lost.
    """

    family = RECIPE.family

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def draw(self, index: int, seed: int, facts: DataFacts) -> NetworkRecipe:
        recipe = RECIPE.draw(index, seed, facts)
        self.drawn.append(index)
        if self.drawn.count(5) == 1 and index == 5:
            return KillsItsWorker(**vars(recipe))
        return recipe

    def to_dict(self) -> dict[str, Any]:
        return RECIPE.to_dict()


def test_lost_workers_are_replaced(tmp_path: Path) -> None:
    recipe, data = KillsOnce(), random_images()
    with pytest.warns(AccuracyFromWeightsWarning, match="A worker died"):
        store = build_zoo(tmp_path / "killed", recipe, data, 12, n_jobs=2)
    assert recipe.drawn.count(5) == 2
    assert_same_networks(store, build_zoo(tmp_path / "whole", RECIPE, data, 12))


@pytest.mark.parametrize(
    ("engine", "address", "message"),
    [("slurm", None, "local, dask, ray"), ("local", "tcp://somewhere", "no address")],
)
def test_engines_that_do_not_exist(
    tmp_path: Path, engine: str, address: str | None, message: str
) -> None:
    with pytest.raises(ZooError, match=message):
        build_zoo(tmp_path, RECIPE, random_images(), 1, engine=engine, address=address)


def test_dask_loses_nothing_with_a_worker(tmp_path: Path) -> None:
    from distributed import Client, LocalCluster

    data = random_images()
    killed = []
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=None
    ) as cluster:
        with Client(cluster) as client:
            pids = client.run(os.getpid)

        def kill_one(done: int, total: int) -> None:
            if done == 4:
                victim = next(iter(pids.values()))
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)

        store = build_zoo(
            tmp_path / "dask",
            RECIPE,
            data,
            24,
            engine="dask",
            address=cluster.scheduler_address,
            progress=kill_one,
        )
    assert killed
    assert_same_networks(store, build_zoo(tmp_path / "whole", RECIPE, data, 24))


def test_dask_with_one_worker(tmp_path: Path, digits: ImageData, tiny_recipe: PaperRecipe) -> None:
    store = build_zoo(tmp_path / "dask", tiny_recipe, digits, 2, engine="dask", n_jobs=1)
    assert_same_networks(store, build_zoo(tmp_path / "whole", tiny_recipe, digits, 2))


def test_dask_that_does_not_answer() -> None:
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "300ms"}),
        pytest.raises(ZooError, match="Dask cluster at"),
        open_engine("dask", random_images(), address="tcp://127.0.0.1:1"),
    ):
        pass


def processes_of_session(session: int) -> list[int]:
    """Processes that are still running (not zombies) in a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
