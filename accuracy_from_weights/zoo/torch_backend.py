"""Train networks with PyTorch: those that can be stacked many at once, others one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch

from accuracy_from_weights.zoo.recipes import OPTIMISERS, NetworkRecipe
from accuracy_from_weights.zoo.tasks import PreparedImages, pool_key, prepare_images
from accuracy_from_weights.zoo.torch_module_training import ModuleTraining
from accuracy_from_weights.zoo.torch_stack import can_stack
from accuracy_from_weights.zoo.torch_stack_training import PatchTables, StackTraining
from accuracy_from_weights.zoo.training import ImageData, TrainedNetwork


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
        images = prepare_images(same_pool[0].task, data)
        tables: dict[tuple[object, ...], PatchTables] = {}
        for group in _groups(same_pool):
            with _one_thread():
                trained = _train_group(group, images, tables, where)
            yield from trained


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
    recipes: Sequence[NetworkRecipe],
    images: PreparedImages,
    tables: dict[tuple[object, ...], PatchTables],
    device: torch.device,
) -> list[TrainedNetwork]:
    architecture = recipes[0].architecture
    if not can_stack(architecture):
        return [ModuleTraining(recipe, images, device).run() for recipe in recipes]
    with torch.inference_mode():
        key = (architecture.kernel_size, architecture.strides[0])
        training = StackTraining(recipes, images, tables.get(key), device)
        tables[key] = training.tables
        return training.run()
