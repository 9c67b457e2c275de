"""Train networks with PyTorch: those that can be stacked many at once, others one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch

from accuracy_from_weights.zoo.recipes import NetworkRecipe, OPTIMISERS
from accuracy_from_weights.zoo.tasks import PreparedImages, pool_key, prepare_images
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
    with torch.inference_mode():
        for same_pool in by_pool.values():
            images = prepare_images(same_pool[0].task, data)
            yield from _train_on(images, same_pool, where)


def _train_on(
    images: PreparedImages, recipes: Sequence[NetworkRecipe], device: torch.device
) -> Iterator[TrainedNetwork]:
    groups: dict[tuple[object, ...], list[NetworkRecipe]] = {}
    for recipe in recipes:
        groups.setdefault(group_key(recipe), []).append(recipe)
    tables: dict[tuple[object, ...], PatchTables] = {}
    for group in groups.values():
        group.sort(key=lambda recipe: OPTIMISERS.index(recipe.optimizer))
        architecture = group[0].architecture
        key = (architecture.kernel_size, architecture.strides[0])
        training = StackTraining(group, images, tables.get(key), device)
        tables[key] = training.tables
        yield from training.run()
