"""Train networks with PyTorch: several of one architecture at once, on one task or on many."""

from __future__ import annotations

import contextlib
import gc
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from accuracy_from_weights.errors import ZooError, first_line
from accuracy_from_weights.zoo.recipes.recipe import OPTIMISERS, NetworkRecipe
from accuracy_from_weights.zoo.trained_network import TrainedNetwork
from accuracy_from_weights.zoo_training.tasks import PreparedData, pool_key, prepare_data
from accuracy_from_weights.zoo_training.torch_memory import networks_at_once, networks_that_fit
from accuracy_from_weights.zoo_training.torch_stack import can_stack
from accuracy_from_weights.zoo_training.torch_stack_training import PatchTables, StackTraining
from accuracy_from_weights.zoo_training.torch_vmap_training import VmapTraining
from accuracy_from_weights.zoo_training.training import ImageData, TrainingData

__all__ = ["check_device", "networks_at_once", "single_thread_without_tf32", "train"]


def check_device(device: str) -> None:
    """Raise `ZooError` where PyTorch cannot compute on a device."""
    try:
        torch.zeros(1, device=device).add_(1)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ZooError(
            f"PyTorch cannot train on the device {device!r} here ({first_line(error)}); train on "
            f"the device cpu, or install a PyTorch that knows the device."
        ) from error


def train(
    recipes: Sequence[NetworkRecipe], data: TrainingData, *, device: str
) -> Iterator[TrainedNetwork]:
    """Train networks; see `training.train_networks`."""
    where = torch.device(device)
    prepared: dict[tuple[object, ...], _Prepared] = {}
    groups: dict[tuple[object, ...], list[tuple[NetworkRecipe, _Prepared]]] = {}
    for recipe in recipes:
        key = pool_key(recipe.task)
        task = prepared[key] = prepared.get(key) or _prepare(data, recipe, where)
        groups.setdefault(group_key(recipe, task.data, where), []).append((recipe, task))
    for group in groups.values():
        # The stacked optimiser needs the networks of one kind of optimiser next to each other.
        group.sort(key=lambda pair: OPTIMISERS.index(pair[0].optimizer))
        at_once = networks_that_fit(group[0][0], where)
        for start in range(0, len(group), at_once):
            with single_thread_without_tf32():
                trained = _train_what_fits(group[start : start + at_once], where)
            if where.type != "cpu":
                # A reference cycle keeps the training alive, which holds much of the memory.
                gc.collect()
            yield from trained


def group_key(
    recipe: NetworkRecipe, data: PreparedData, device: torch.device
) -> tuple[object, ...]:
    """Return a key that is the same for all networks that can be trained at once.

    On a CPU these are plain convolutional networks (see `can_stack`) on one task; others would not
    train faster together.
    """
    n_train = min(recipe.task.n_train, len(data.pool))
    alike = (recipe.architecture, recipe.batch_of(n_train), recipe.checkpoint_steps(n_train))
    if can_stack(recipe) and (device.type == "cpu" or recipe.task.universe_seed is None):
        return (*alike, n_train, pool_key(recipe.task))
    if device.type == "cpu":
        return (recipe,)
    form = recipe.task.form
    return (*alike, form.kind, form.shape if form.kind != "table" else ())


@dataclass(eq=False)
class _Prepared:
    """The examples of a task, and its patch tables by kernel size and stride."""

    key: tuple[object, ...]
    data: PreparedData
    tables: dict[tuple[object, ...], PatchTables] = field(default_factory=dict)


# The last one is kept: a zoo is built call after call, mostly on the same task, and preparing it
# takes a sixth of the time of training a network on it.
_last_prepared: _Prepared | None = None


def _prepare(data: TrainingData, recipe: NetworkRecipe, device: torch.device) -> _Prepared:
    global _last_prepared
    key = (_checksum(data), pool_key(recipe.task), str(device))
    last = _last_prepared
    if last is None or last.key != key:
        last = _last_prepared = _Prepared(key, prepare_data(recipe.task, data))
    return last


def _checksum(data: TrainingData) -> tuple[int, ...]:
    """Return a hash of the images; in a worker, each call gets the same ones as another object."""
    if not isinstance(data, ImageData):
        return ()
    arrays = (data.x_train, data.y_train, data.x_test, data.y_test)
    return tuple(zlib.crc32(np.ascontiguousarray(array).data) for array in arrays)


@contextlib.contextmanager
def single_thread_without_tf32() -> Iterator[None]:
    """Switch TF32 off and limit PyTorch to one CPU thread; restore both at the end.

    On networks this small a second thread costs more than it gains.
    """
    threads = torch.get_num_threads()
    switches: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn]
    before = [switch.allow_tf32 for switch in switches]
    torch.set_num_threads(1)
    for switch in switches:
        switch.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for switch, allowed in zip(switches, before, strict=True):
            switch.allow_tf32 = allowed


def _train_what_fits(
    group: Sequence[tuple[NetworkRecipe, _Prepared]], device: torch.device
) -> list[TrainedNetwork]:
    """Train a group at once, or in halves where the device's memory is too small for it."""
    try:
        return _train_group(group, device)
    except torch.OutOfMemoryError as error:
        if len(group) == 1:
            raise ZooError(
                f"The device {device} has too little memory to train one network of "
                f"{group[0][0].architecture}; train on the device cpu, or end what else runs there."
            ) from error
    gc.collect()
    torch.cuda.empty_cache()
    half = len(group) // 2
    return [*_train_what_fits(group[:half], device), *_train_what_fits(group[half:], device)]


def _train_group(
    group: Sequence[tuple[NetworkRecipe, _Prepared]], device: torch.device
) -> list[TrainedNetwork]:
    recipes, tasks = [recipe for recipe, _ in group], [task for _, task in group]
    first, task = group[0]
    if not can_stack(first) or any(other is not task for other in tasks):
        return VmapTraining(recipes, [task.data for task in tasks], device).run()
    with torch.inference_mode():
        key = (first.architecture.kernel_size, first.architecture.strides[0])
        training = StackTraining(recipes, task.data, task.tables.get(key), device)
        task.tables[key] = training.tables
        return training.run()
