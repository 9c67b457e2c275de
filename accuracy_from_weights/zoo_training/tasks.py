"""Turn a data set into what one network learns: fewer images, other sizes, other classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.recipe import Task
from accuracy_from_weights.zoo_training.randomness import add_label_noise, pick_images
from accuracy_from_weights.zoo_training.training import ImageData

# Orders the images of every data set once for all networks, in case a file is sorted by class.
_FIXED_ORDER = 0


@dataclass(frozen=True, eq=False)
class PreparedImages:
    """Images of a task that all networks on it may share.

    Attributes
    ----------
    pool, test : ndarray of shape (n, channels, size, size), float32 in [-1, 1]
        The images that training images are picked from, and the test images.
    pool_labels, test_labels : ndarray of shape (n,), int64
        True labels.
    n_classes : int
    """

    pool: NDArray[np.float32]
    pool_labels: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    n_classes: int


def pool_key(task: Task) -> tuple[object, ...]:
    """Give what two tasks must agree in to share `PreparedImages`."""
    return (
        task.dataset,
        task.pool,
        task.n_test,
        task.image_size,
        task.channels,
        task.label_map,
        task.transform,
    )


def prepare_images(task: Task, data: ImageData) -> PreparedImages:
    """Pick, resize and relabel the images of a task.

    Raises
    ------
    ZooError
        When no image of the classes kept is left.
    """
    pool, pool_labels = _prepare(task, data, data.x_train, data.y_train, task.pool)
    test, test_labels = _prepare(task, data, data.x_test, data.y_test, task.n_test)
    n_classes = data.n_classes * (1 if task.transform == "none" else 2)
    if task.label_map is not None:
        n_classes = max(task.label_map) + 1
    return PreparedImages(pool, pool_labels, test, test_labels, n_classes)


def training_images(
    task: Task, images: PreparedImages
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pick one network's training images.

    Returns
    -------
    indices : ndarray of shape (n_train,), int64
        Places in the pool.
    labels : ndarray of shape (n_train,), int64
        Their labels, noise included.
    """
    indices = pick_images(len(images.pool), task.n_train, task.data_seed)
    labels = images.pool_labels[indices]
    return indices, add_label_noise(labels, images.n_classes, task.label_noise, task.data_seed)


def _prepare(
    task: Task,
    data: ImageData,
    x: NDArray[np.generic],
    y: NDArray[np.int64],
    n_wanted: int | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    order = pick_images(len(x), len(x), _FIXED_ORDER)
    labels = y.astype(np.int64)
    if task.transform != "none":
        # Every second image of the fixed order becomes one of the classes of transformed images.
        changed = np.zeros(len(x), dtype=bool)
        changed[order[1::2]] = True
        labels = labels + data.n_classes * changed
    if task.label_map is not None:
        labels = np.asarray(task.label_map, dtype=np.int64)[labels]
    order = order[labels[order] >= 0][:n_wanted]
    if len(order) == 0:
        raise ZooError(
            f"Expected images of the classes that the task keeps. Received: {task.label_map}, of "
            f"which {data.name!r} has none."
        )
    chosen = _scaled(x[order])
    if task.transform != "none":
        where = changed[order]
        chosen[where] = (
            -chosen[where] if task.transform == "invert" else np.rot90(chosen[where], axes=(2, 3))
        )
    return _resized(_with_channels(chosen, task.channels), task.image_size), labels[order]


def _scaled(x: NDArray[np.generic]) -> NDArray[np.float32]:
    if x.dtype == np.uint8:
        return x.astype(np.float32) * np.float32(2.0 / 255.0) - np.float32(1.0)
    return x.astype(np.float32, copy=True)


def _with_channels(x: NDArray[np.float32], channels: int | None) -> NDArray[np.float32]:
    if channels is None or channels == x.shape[1]:
        return x
    grey = x.mean(axis=1, keepdims=True, dtype=np.float32)
    if channels == 1:
        return grey
    tint = np.random.Generator(np.random.SFC64(_FIXED_ORDER)).uniform(0.3, 1.0, (len(x), channels))
    return grey * tint.astype(np.float32)[:, :, None, None]


def _resized(x: NDArray[np.float32], size: int | None) -> NDArray[np.float32]:
    """Average over areas: the same brightness at every size, up or down."""
    if size is None or size == x.shape[2]:
        return x
    mix = _area_matrix(x.shape[2], size)
    return np.ascontiguousarray(mix @ x @ mix.T)


def _area_matrix(old: int, new: int) -> NDArray[np.float32]:
    """Overlap of each new pixel with each old one; rows sum to 1."""
    edges_old, edges_new = np.arange(old + 1) / old, np.arange(new + 1) / new
    low = np.maximum(edges_new[:-1, None], edges_old[None, :-1])
    high = np.minimum(edges_new[1:, None], edges_old[None, 1:])
    return (np.clip(high - low, 0.0, None) * new).astype(np.float32)
