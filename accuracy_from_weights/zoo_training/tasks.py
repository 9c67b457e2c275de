"""Turn a data set into what one network learns: fewer examples, other sizes, other classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import InputForm
from accuracy_from_weights.zoo.recipes.recipe import Task
from accuracy_from_weights.zoo_training.randomness import add_label_noise, pick_examples
from accuracy_from_weights.zoo_training.training import TrainingData
from accuracy_from_weights.zoo_training.universe_data import UniverseData

# Orders the examples of every data set once for all networks, in case a file is sorted by class.
_FIXED_ORDER = 0


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Examples of a task that all networks on it may share.

    Attributes
    ----------
    form : InputForm
    pool, test : ndarray of shape (n, *form.shape), float32, or int64 for tokens
        The examples that training examples are picked from, and the test examples. Images are in
        [-1, 1].
    pool_labels, test_labels : ndarray of shape (n,), int64
        True labels.
    n_classes : int
    """

    form: InputForm
    pool: NDArray[np.generic]
    pool_labels: NDArray[np.int64]
    test: NDArray[np.generic]
    test_labels: NDArray[np.int64]
    n_classes: int


def pool_key(task: Task) -> tuple[object, ...]:
    """Return what two tasks must agree in to share `PreparedData`."""
    return (task.dataset, task.form, task.pool, task.n_test, task.label_map, task.transform)


def prepare_data(task: Task, data: TrainingData) -> PreparedData:
    """Pick, resize and relabel a task's examples; `ZooError` when none is left."""
    source = data.task(task) if isinstance(data, UniverseData) else data
    pool, pool_labels = _prepare(task, source.x_train, source.y_train, source.n_classes, task.pool)
    test, test_labels = _prepare(task, source.x_test, source.y_test, source.n_classes, task.n_test)
    return PreparedData(task.form, pool, pool_labels, test, test_labels, task.n_classes)


def training_examples(
    task: Task, data: PreparedData
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pick one network's training examples: places in the pool, and labels, noise included."""
    indices = pick_examples(len(data.pool), task.n_train, task.data_seed)
    labels = data.pool_labels[indices]
    return indices, add_label_noise(labels, data.n_classes, task.label_noise, task.data_seed)


def examples_of(task: Task, data: TrainingData) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    """Return the examples that a stored network was trained on, with the labels it was given.

    Inputs, (n_train, *task.form.shape), are as the network takes them and in random order; labels,
    (n_train,), int64, include the noise.
    """
    prepared = prepare_data(task, data)
    indices, labels = training_examples(task, prepared)
    return prepared.pool[indices], labels


def _prepare(
    task: Task, x: NDArray[np.generic], y: NDArray[np.int64], n_classes: int, n_wanted: int | None
) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    order = pick_examples(len(x), len(x), _FIXED_ORDER)
    labels = y.astype(np.int64)
    if task.transform != "none":
        # Every second image of the fixed order becomes one of the classes of transformed images.
        changed = np.zeros(len(x), dtype=bool)
        changed[order[1::2]] = True
        labels = labels + n_classes * changed
    if task.label_map is not None:
        labels = np.asarray(task.label_map, dtype=np.int64)[labels]
    order = order[labels[order] >= 0][:n_wanted]
    if len(order) == 0:
        raise ZooError(
            f"No image of {task.dataset!r} is of a class that the task keeps ({task.label_map}); "
            f"keep other classes."
        )
    if task.form.kind == "tokens":
        return _as_long(x[order], task.form.size), labels[order]
    chosen = _scaled(x[order])
    if task.form.kind == "table":
        return chosen, labels[order]
    if task.transform != "none":
        where = changed[order]
        chosen[where] = (
            -chosen[where] if task.transform == "invert" else np.rot90(chosen[where], axes=(2, 3))
        )
    return _resized(_with_channels(chosen, task.form.channels), task.form), labels[order]


def _as_long(x: NDArray[np.generic], length: int) -> NDArray[np.int64]:
    """Cut token sequences to a length, or fill them up with 0."""
    longer = np.zeros((len(x), length), np.int64)
    longer[:, : x.shape[1]] = x[:, :length]
    return longer


def _scaled(x: NDArray[np.generic]) -> NDArray[np.float32]:
    if x.dtype == np.uint8:
        return x.astype(np.float32) * np.float32(2.0 / 255.0) - np.float32(1.0)
    return x.astype(np.float32, copy=True)


def _with_channels(x: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    if channels == x.shape[1]:
        return x
    grey = x.mean(axis=1, keepdims=True, dtype=np.float32)
    if channels == 1:
        return grey
    tint = np.random.Generator(np.random.SFC64(_FIXED_ORDER)).uniform(0.3, 1.0, (len(x), channels))
    return grey * tint.astype(np.float32).reshape(len(x), channels, *[1] * (x.ndim - 2))


def _resized(x: NDArray[np.float32], form: InputForm) -> NDArray[np.float32]:
    """Average over areas: the same brightness at every size, up or down."""
    if form.size == x.shape[-1]:
        return x
    mix = _area_matrix(x.shape[-1], form.size)
    return np.ascontiguousarray(mix @ x @ mix.T if form.kind == "image" else x @ mix.T)


def _area_matrix(old: int, new: int) -> NDArray[np.float32]:
    """Overlap of each new pixel with each old one; rows sum to 1."""
    edges_old, edges_new = np.arange(old + 1) / old, np.arange(new + 1) / new
    low = np.maximum(edges_new[:-1, None], edges_old[None, :-1])
    high = np.minimum(edges_new[1:, None], edges_old[None, 1:])
    return (np.clip(high - low, 0.0, None) * new).astype(np.float32)
