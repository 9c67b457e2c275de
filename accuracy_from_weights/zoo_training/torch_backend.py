"""Train networks with PyTorch: those that can be stacked many at once, others one by one."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from accuracy_from_weights.zoo.recipes.recipe import OPTIMISERS, NetworkRecipe
from accuracy_from_weights.zoo.trained_network import TrainedNetwork
from accuracy_from_weights.zoo_training.tasks import PreparedImages, pool_key, prepare_images
from accuracy_from_weights.zoo_training.torch_module_training import ModuleTraining
from accuracy_from_weights.zoo_training.torch_stack import can_stack
from accuracy_from_weights.zoo_training.torch_stack_training import PatchTables, StackTraining
from accuracy_from_weights.zoo_training.training import ImageData


def group_key(recipe: NetworkRecipe) -> tuple[object, ...]:
    """Give what networks must agree in to be trained at once."""
    return (
        pool_key(recipe.task),
        recipe.task.n_train,
        recipe.architecture,
        recipe.batch_size,
        recipe.checkpoints,
    )


def train(
    recipes: Sequence[NetworkRecipe], data: ImageData, *, device: str
) -> Iterator[TrainedNetwork]:
    """Train networks; see `training.train_networks`."""
    where = torch.device(device)
    by_pool: dict[tuple[object, ...], list[NetworkRecipe]] = {}
    for recipe in recipes:
        by_pool.setdefault(pool_key(recipe.task), []).append(recipe)
    for same_pool in by_pool.values():
        for group in _groups(same_pool):
            with _one_thread():
                prepared = _prepare(data, group[0], where)
                trained = _train_group(group, prepared, where)
            yield from trained


@dataclass(eq=False)
class _Prepared:
    """A task's images, and the patches that were laid out of them."""

    key: tuple[object, ...]
    images: PreparedImages
    tables: dict[tuple[object, ...], PatchTables] = field(default_factory=dict)


# The last one is kept: a zoo is built call after call, mostly on the same images, and preparing
# them takes a sixth of the time of training a network on them.
_last_prepared: _Prepared | None = None


def _prepare(data: ImageData, recipe: NetworkRecipe, device: torch.device) -> _Prepared:
    global _last_prepared
    key = (_checksum(data), pool_key(recipe.task), str(device))
    last = _last_prepared
    if last is None or last.key != key:
        last = _last_prepared = _Prepared(key, prepare_images(recipe.task, data))
    return last


def _checksum(data: ImageData) -> tuple[int, ...]:
    """Tell images apart by content: in a worker, each call's are another object."""
    arrays = (data.x_train, data.y_train, data.x_test, data.y_test)
    return tuple(zlib.crc32(np.ascontiguousarray(array).data) for array in arrays)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep PyTorch on one thread: on networks this small a second one costs more than it gains."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _groups(recipes: Sequence[NetworkRecipe]) -> Iterator[list[NetworkRecipe]]:
    """Put together what can be trained at once; those of one optimiser stand side by side."""
    groups: dict[tuple[object, ...], list[NetworkRecipe]] = {}
    for recipe in recipes:
        alone = () if can_stack(recipe.architecture) else (recipe,)
        groups.setdefault((group_key(recipe), *alone), []).append(recipe)
    for group in groups.values():
        yield sorted(group, key=lambda recipe: OPTIMISERS.index(recipe.optimizer))


def _train_group(
    recipes: Sequence[NetworkRecipe], prepared: _Prepared, device: torch.device
) -> list[TrainedNetwork]:
    architecture = recipes[0].architecture
    if not can_stack(architecture):
        return [ModuleTraining(recipe, prepared.images, device).run() for recipe in recipes]
    with torch.inference_mode():
        key = (architecture.kernel_size, architecture.strides[0])
        training = StackTraining(recipes, prepared.images, prepared.tables.get(key), device)
        prepared.tables[key] = training.tables
        return training.run()
