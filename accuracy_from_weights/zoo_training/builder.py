"""Build a zoo: draw recipes, train them in parallel, keep one network after another."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import joblib
import numpy as np

from accuracy_from_weights.errors import AccuracyFromWeightsWarning, ZooError
from accuracy_from_weights.zoo.network_file import StoredNetwork, from_training
from accuracy_from_weights.zoo.recipes.distributions import RecipeDistribution
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.store import ZooStore
from accuracy_from_weights.zoo.trained_network import TrainedNetwork
from accuracy_from_weights.zoo_training.engines import DataReference, Engine, open_engine
from accuracy_from_weights.zoo_training.training import ImageData, train_networks

Progress = Callable[[int, int], None]

_LOST_IN_A_ROW = 3
# Among so many batches' recipes, those that go together are looked for.
_DRAWN_AT_ONCE = 16


def build_zoo(
    folder: str | Path,
    recipe: RecipeDistribution,
    data: ImageData,
    n_networks: int,
    *,
    seed: int = 0,
    n_jobs: int = 1,
    engine: str = "local",
    address: str | None = None,
    backend: str = "torch",
    device: str = "cpu",
    at_once: int = 1,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> ZooStore:
    """Train networks until the folder holds `n_networks`; what it already holds is kept.

    Stopping it at any moment, by ``kill -9`` too, loses the networks being trained and no other;
    the same call goes on from there. Network i is the same whenever and wherever it is trained,
    up to rounding: it depends on the recipe, the data, the seed and i.

    Parameters
    ----------
    folder : str or Path
        Made where it does not exist.
    recipe : RecipeDistribution
        What the networks' recipes are drawn from.
    data : ImageData
    n_networks : int
        Networks wanted in all; may be raised later.
    seed : int, default 0
    n_jobs : int, default 1
        Processes; -1 for one a core. 1 trains in this process.
    engine : {"local", "dask", "ray"}, default "local"
    address : str, optional
        Of the Dask scheduler or Ray head. Workers there need this package installed, not the
        folder.
    backend : {"torch", "keras"}, default "torch"
    device : str, default "cpu"
    at_once : int, default 1
        Networks that a process trains at once, and that a kill may therefore cost. Worth raising
        on a GPU.
    dtype : {"float32", "float16"}, default "float32"
        Type of the stored weights.
    progress : callable, optional
        Called with the networks done and `n_networks`, at the start and after each network.

    Returns
    -------
    ZooStore
        The complete zoo.

    Raises
    ------
    ZooError
        When the folder holds a zoo of another plan, another process is writing to it, the disk is
        full, or workers keep dying.
    """
    if n_networks < 1 or at_once < 1:
        raise ZooError(
            f"Expected at least one network, and at least one at once. "
            f"Received: {n_networks} and {at_once}."
        )
    store = ZooStore(folder)
    facts = data.facts
    made_by = {"backend": backend, "device": device, "engine": engine}
    with store.writing() as writer:
        writer.begin({"recipe": recipe.to_dict(), "data": describe_data(data), "seed": seed})
        done = n_networks - len(writer.missing(n_networks))
        if progress is not None:
            progress(done, n_networks)
        if done == n_networks:
            return store

        def batches() -> Iterator[list[NetworkRecipe]]:
            """Recipes of what is missing now: asked for again when a worker died."""
            missing = writer.missing(n_networks)
            window = _DRAWN_AT_ONCE * at_once
            for start in range(0, len(missing), window):
                drawn = [recipe.draw(i, seed, facts) for i in missing[start : start + window]]
                yield from batch_alike(drawn, at_once)

        with contextlib.ExitStack() as stack:
            if engine == "local" and joblib.effective_n_jobs(n_jobs) == 1 and address is None:
                trained = _train_here(batches(), data, backend, device)
            else:
                opened = stack.enter_context(open_engine(engine, data, n_jobs, address))
                trained = _train_in_workers(opened, batches, backend, device)
            stack.enter_context(contextlib.closing(trained))
            for network in trained:
                writer.add(from_training(network.recipe.index, network, made_by), dtype)
                done += 1
                if progress is not None:
                    progress(done, n_networks)
    return store


def rebuild_network(
    recipe: RecipeDistribution,
    data: ImageData,
    index: int,
    *,
    seed: int = 0,
    backend: str = "torch",
    device: str = "cpu",
) -> StoredNetwork:
    """Train one network of a zoo again.

    The arguments are those of `build_zoo`; `index` is the network's number. Given the same ones the
    network is the same one, up to rounding.
    """
    drawn = recipe.draw(index, seed, data.facts)
    (network,) = train_networks([drawn], data, device=device, backend=backend)
    return from_training(index, network, {"backend": backend, "device": device})


def batch_alike(recipes: Iterable[NetworkRecipe], at_once: int) -> list[list[NetworkRecipe]]:
    """Batch recipes that can be trained at once, at most `at_once` in a batch.

    Batches stand in the order of their first recipes, so that quick and slow ones are mixed and
    the time left can be told from the time spent.
    """
    alike: dict[tuple[object, ...], list[NetworkRecipe]] = {}
    for recipe in recipes:
        key = (
            recipe.architecture,
            recipe.task.n_train,
            recipe.batch_size,
            recipe.checkpoints,
        )
        alike.setdefault(key, []).append(recipe)
    batches = [
        group[start : start + at_once]
        for group in alike.values()
        for start in range(0, len(group), at_once)
    ]
    return sorted(batches, key=lambda batch: batch[0].index)


def describe_data(data: ImageData) -> dict[str, object]:
    """Say which images a zoo was trained on: name, numbers and the SHA-256 of the arrays."""
    digest = hashlib.sha256()
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return {**dataclasses.asdict(data.facts), "sha256": digest.hexdigest()}


def _train_here(
    batches: Iterator[list[NetworkRecipe]], data: ImageData, backend: str, device: str
) -> Generator[TrainedNetwork, None, None]:
    for batch in batches:
        yield from train_networks(batch, data, device=device, backend=backend)


def _train_in_workers(
    engine: Engine,
    batches: Callable[[], Iterator[list[NetworkRecipe]]],
    backend: str,
    device: str,
) -> Generator[TrainedNetwork, None, None]:
    """Yield networks as they are done; when a worker dies, what is missing is handed out again."""
    lost_in_a_row = 0
    while True:
        try:
            tasks = ((batch, backend, device) for batch in batches())
            for networks in engine.run(_train_batch, tasks):
                lost_in_a_row = 0
                yield from networks
            return
        except engine.lost_worker as error:  # noqa: PERF203 - a round takes hours
            lost_in_a_row += 1
            if lost_in_a_row == _LOST_IN_A_ROW:
                raise ZooError(
                    f"Expected workers that live long enough to train a network. Received: "
                    f"{lost_in_a_row} died one after another, as happens when the memory is full; "
                    f"try fewer jobs. The networks done are safe."
                ) from error
            warnings.warn(
                "A worker died; the networks that it was training are trained again.",
                AccuracyFromWeightsWarning,
                stacklevel=2,
            )


def _train_batch(
    data: DataReference, recipes: list[NetworkRecipe], backend: str, device: str
) -> list[TrainedNetwork]:
    """Train in a worker."""
    return list(train_networks(recipes, data.get(), device=device, backend=backend))
