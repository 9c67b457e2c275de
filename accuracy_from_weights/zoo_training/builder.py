"""Build a zoo: draw recipes, train them in parallel, keep one network after another."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import joblib
import numpy as np

from accuracy_from_weights.errors import ZooError, warn
from accuracy_from_weights.zoo.network_file import StoredNetwork, from_training
from accuracy_from_weights.zoo.recipes.distributions import RecipeDistribution
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.recipes.universe import UniverseRecipe
from accuracy_from_weights.zoo.store import ZooStore
from accuracy_from_weights.zoo.trained_network import TrainedNetwork
from accuracy_from_weights.zoo_training.engines import DataReference, Engine, open_engine
from accuracy_from_weights.zoo_training.training import (
    TrainingData,
    load_backend,
    train_networks,
)
from accuracy_from_weights.zoo_training.universe import UNIVERSE_VERSION
from accuracy_from_weights.zoo_training.universe_data import UniverseData

Progress = Callable[[int, int], None]

_LOST_IN_A_ROW = 3
# The recipes of so many batches are drawn together, and batched by architecture.
_DRAWN_AT_ONCE = 16


def build_zoo(
    folder: str | Path,
    recipe: RecipeDistribution,
    data: TrainingData,
    n_networks: int,
    *,
    seed: int = 0,
    n_jobs: int = 1,
    engine: str = "local",
    address: str | None = None,
    backend: str = "torch",
    device: str = "cpu",
    at_once: int | None = None,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> ZooStore:
    """Train networks until the folder holds `n_networks`; what it already holds is kept.

    A kill at any moment, even by ``kill -9``, loses only the networks being trained, and the same
    call resumes the zoo. Network i is the same whenever and wherever it is trained, up to rounding:
    it depends on the recipe, the data, the seed and i.

    Parameters
    ----------
    folder : str or Path
        Made where it does not exist.
    recipe : RecipeDistribution
        What the networks' recipes are drawn from.
    data : ImageData or UniverseData
    n_networks : int
        Networks wanted in all; may be raised later.
    seed : int, default 0
    n_jobs : int, default 1
        Processes; -1 for one per core. 1 trains in this process.
    engine : {"local", "dask", "ray"}, default "local"
    address : str, optional
        Of the Dask scheduler or Ray head. Workers there need this package installed, not the
        folder.
    backend : {"torch", "keras"}, default "torch"
    device : str, default "cpu"
    at_once : int, optional
        Networks that a process trains at once, and that a kill may therefore cost; the universe's
        recipes are drawn so that as many go together. Defaults to 1 on a CPU and to what the
        memory of a GPU holds.
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
        When the device is not there, the recipe does not suit the data, the folder holds a zoo of
        another plan, another process is writing to it, the disk is full, or workers keep dying.
    """
    if n_networks < 1 or (at_once is not None and at_once < 1):
        raise ZooError(
            f"{n_networks} networks, {at_once} at once, cannot be trained; both have to be at "
            f"least 1."
        )
    trainer = load_backend(backend, device)
    at_once = at_once or trainer.networks_at_once(device)
    store = ZooStore(folder)
    recipe = _fill_stacks(recipe, data, at_once, store)
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
            """Yield batches of recipes of the missing networks; called again if a worker died."""
            missing = writer.missing(n_networks)
            window = at_once * (1 if isinstance(data, UniverseData) else _DRAWN_AT_ONCE)
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
                writer.add(from_training(network, made_by), dtype)
                done += 1
                if progress is not None:
                    progress(done, n_networks)
    return store


def rebuild_network(
    recipe: RecipeDistribution,
    data: TrainingData,
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
    _check_suits(recipe, data)
    drawn = recipe.draw(index, seed, data.facts)
    (network,) = train_networks([drawn], data, device=device, backend=backend)
    return from_training(network, {"backend": backend, "device": device})


def _fill_stacks(
    recipe: RecipeDistribution, data: TrainingData, at_once: int, store: ZooStore
) -> RecipeDistribution:
    """Return the recipe, for the universe with as many networks of an architecture as `at_once`.

    A zoo that is resumed keeps the number that it was begun with.
    """
    _check_suits(recipe, data)
    if not isinstance(recipe, UniverseRecipe):
        return recipe
    filled = dataclasses.replace(recipe, per_architecture=max(recipe.per_architecture, at_once))
    if ZooStore.is_store(store.folder):
        found = store.plan().get("recipe", {}).get("per_architecture")
        if isinstance(found, int) and found > 0:
            return dataclasses.replace(recipe, per_architecture=found)
    return filled


def _check_suits(recipe: RecipeDistribution, data: TrainingData) -> None:
    of_universe = isinstance(data, UniverseData)
    fits = recipe.family in ("universe", "paper") if of_universe else recipe.family != "universe"
    if not fits:
        raise ZooError(
            f"The recipe {recipe.family!r} does not suit this data: the universe takes the recipes "
            "universe and paper, a data set takes all but universe. Change one of them."
        )


def batch_alike(recipes: Iterable[NetworkRecipe], at_once: int) -> list[list[NetworkRecipe]]:
    """Batch recipes that can be trained at once, at most `at_once` in a batch.

    Batches come in the order of their first recipes. Quick and slow ones are mixed, so the time
    spent tells the time left.
    """
    alike: dict[tuple[object, ...], list[NetworkRecipe]] = {}
    for recipe in recipes:
        # Recipes of the universe share the steps, not the epochs.
        of_universe = recipe.task.universe_seed is not None
        n_train = recipe.task.n_train
        key = (
            recipe.architecture,
            recipe.batch_size,
            recipe.checkpoint_steps(n_train) if of_universe else (n_train, recipe.checkpoints),
        )
        alike.setdefault(key, []).append(recipe)
    batches = [
        group[start : start + at_once]
        for group in alike.values()
        for start in range(0, len(group), at_once)
    ]
    return sorted(batches, key=lambda batch: batch[0].index)


def describe_data(data: TrainingData) -> dict[str, object]:
    """Return what a zoo was trained on: name, numbers and the SHA-256 of the arrays."""
    if isinstance(data, UniverseData):
        return {"name": "universe", "version": UNIVERSE_VERSION}
    digest = hashlib.sha256()
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    facts = {k: v for k, v in dataclasses.asdict(data.facts).items() if v is not None}
    return {**facts, "sha256": digest.hexdigest()}


def _train_here(
    batches: Iterator[list[NetworkRecipe]], data: TrainingData, backend: str, device: str
) -> Generator[TrainedNetwork, None, None]:
    for batch in batches:
        yield from train_networks(batch, data, device=device, backend=backend)


def _train_in_workers(
    engine: Engine,
    batches: Callable[[], Iterator[list[NetworkRecipe]]],
    backend: str,
    device: str,
) -> Generator[TrainedNetwork, None, None]:
    """Yield networks as they are done; if a worker dies, hand out what is missing again."""
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
                    f"{lost_in_a_row} workers died one after another, as happens when the memory "
                    "is full. The networks done are safe: try again with fewer jobs."
                ) from error
            warn("A worker died; the networks that it was training are trained again.")


def _train_batch(
    data: DataReference, recipes: list[NetworkRecipe], backend: str, device: str
) -> list[TrainedNetwork]:
    """Train a batch of networks in a worker."""
    return list(train_networks(recipes, data(), device=device, backend=backend))
