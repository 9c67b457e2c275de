from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import InputForm
from accuracy_from_weights.zoo.recipes.recipe import Task
from accuracy_from_weights.zoo_training.tasks import prepare_data, training_examples
from accuracy_from_weights.zoo_training.training import ImageData
from accuracy_from_weights.zoo_training.universe import TaskData
from accuracy_from_weights.zoo_training.universe_data import UniverseData
from tests.zoo_training.blobs import blobs

FORM = InputForm("image", (1, 20, 20))
TASK = Task("blobs", FORM, n_classes=4, n_train=50, n_test=40, data_seed=1)


NUMBERED = dataclasses.replace(TASK, form=InputForm("image", (1, 4, 4)), n_classes=5)


def with_form(channels: int, size: int) -> Task:
    return dataclasses.replace(TASK, form=InputForm("image", (channels, size, size)))


def numbered(n: int = 60, n_classes: int = 5) -> ImageData:
    """Images that carry their number in the first pixel and their class in the second."""
    x = np.zeros((n, 1, 4, 4), np.float32)
    y = np.arange(n) % n_classes
    x[:, 0, 0, 0] = (np.arange(n) + 1) / 1000
    x[:, 0, 0, 1] = y / 100
    return ImageData("blobs", x, y, x.copy(), y.copy(), n_classes)


def test_bytes_become_numbers_from_minus_one_to_one():
    data = blobs()
    images = prepare_data(TASK, data)
    assert images.pool.dtype == np.float32
    assert images.pool.shape == (300, 1, 20, 20)
    assert len(images.test) == len(images.test_labels) == 40
    assert images.pool.min() >= -1
    assert images.pool.max() <= 1
    raw = {image.tobytes() for image in data.x_train}
    back = np.round((images.pool + 1) * 127.5).astype(np.uint8)
    assert {image.tobytes() for image in back} == raw


def test_the_pool_is_the_same_for_all_networks_and_the_pick_is_their_own():
    data = numbered()
    task = dataclasses.replace(NUMBERED, pool=30, n_train=10)
    other = dataclasses.replace(task, data_seed=2)
    images = prepare_data(task, data)
    np.testing.assert_array_equal(images.pool, prepare_data(other, data).pool)
    first, labels = training_examples(task, images)
    second, _ = training_examples(other, images)
    assert len(set(first.tolist())) == 10
    assert set(first.tolist()) != set(second.tolist())
    np.testing.assert_array_equal(first, training_examples(task, images)[0])
    np.testing.assert_array_equal(labels, images.pool_labels[first])


def test_classes_are_kept_merged_and_left_out():
    task = dataclasses.replace(NUMBERED, n_classes=2, label_map=(0, -1, 1, 1, -1))
    images = prepare_data(task, numbered())
    old = np.round(images.pool[:, 0, 0, 1] * 100).astype(int)
    assert set(old) == {0, 2, 3}
    np.testing.assert_array_equal(images.pool_labels, np.where(old == 0, 0, 1))


@pytest.mark.parametrize("transform", ["rotate", "invert"])
def test_a_transform_doubles_the_classes(transform):
    data = numbered()
    task = dataclasses.replace(NUMBERED, n_classes=10, transform=transform)
    images = prepare_data(task, data)
    changed = images.pool_labels >= 5
    assert changed.mean() == 0.5
    assert set(images.pool_labels) == set(range(10))
    originals = {image.tobytes() for image in data.x_train}
    for image, is_changed in zip(images.pool, changed, strict=True):
        undone = -image if transform == "invert" else np.rot90(image, -1, axes=(1, 2))
        assert (np.ascontiguousarray(undone).tobytes() in originals) == is_changed
        assert (image.tobytes() in originals) != is_changed


def test_sizes_change_by_area_and_keep_the_brightness():
    data = blobs(size=28)
    plain = prepare_data(with_form(1, 28), data).pool
    for size in (14, 10, 8, 40):
        images = prepare_data(with_form(1, size), data)
        assert images.pool.shape[2:] == (size, size)
        np.testing.assert_allclose(images.pool.mean((1, 2, 3)), plain.mean((1, 2, 3)), atol=1e-5)
    halved = prepare_data(with_form(1, 14), data).pool
    blocks = plain.reshape(-1, 1, 14, 2, 14, 2).mean((3, 5))
    np.testing.assert_allclose(halved, blocks, atol=1e-5)


def test_colour_becomes_grey_and_grey_gets_tints():
    colour = blobs(channels=3)
    grey = prepare_data(TASK, colour).pool
    np.testing.assert_allclose(
        grey[:, 0], prepare_data(with_form(3, 20), colour).pool.mean(1), atol=1e-6
    )
    tinted = prepare_data(with_form(3, 20), blobs()).pool
    plain = prepare_data(TASK, blobs()).pool
    assert tinted.shape[1] == 3
    ratio = tinted / plain
    np.testing.assert_allclose(ratio.std((2, 3)), 0.0, atol=1e-3)
    assert ratio[:, :, 0, 0].std(0).min() > 0.1


def test_label_noise_changes_the_stated_part_of_training_labels_only():
    data = blobs(n_train=2000)
    task = dataclasses.replace(TASK, n_train=2000, label_noise=0.4)
    images = prepare_data(task, data)
    indices, labels = training_examples(task, images)
    # A quarter of the labels drawn anew from four classes are right again.
    assert np.mean(labels != images.pool_labels[indices]) == pytest.approx(0.3, abs=0.04)


def test_a_task_without_images_is_refused():
    with pytest.raises(ZooError, match="class that the task keeps"):
        prepare_data(dataclasses.replace(NUMBERED, label_map=(-1,) * 5), numbered())


def test_signals_change_their_length_by_area_and_tokens_are_cut_or_filled_up():
    class Source(UniverseData):
        def task(self, task):
            return TaskData("", x, y, x, y, 2, None, {})

    y = np.arange(6) % 2
    x = np.random.default_rng(0).normal(size=(6, 1, 12)).astype(np.float32)
    task = Task("made", InputForm("signal", (1, 6)), 2, 6, 6, 0)
    halved = prepare_data(task, Source())
    order = np.argsort(halved.pool[:, 0].mean(1))
    expected = x[:, 0].reshape(6, 6, 2).mean(2)
    np.testing.assert_allclose(
        halved.pool[order, 0], expected[np.argsort(x[:, 0].mean(1))], atol=1e-6
    )
    x = np.arange(1, 61).reshape(6, 10)
    for length in (4, 13):
        form = InputForm("tokens", (length,), vocabulary=61)
        pool = prepare_data(dataclasses.replace(task, form=form), Source()).pool
        assert pool.shape == (6, length)
        pool = pool[np.argsort(pool[:, 0])]
        np.testing.assert_array_equal(pool[:, :10], x[:, :length])
        assert (pool[:, 10:] == 0).all()
