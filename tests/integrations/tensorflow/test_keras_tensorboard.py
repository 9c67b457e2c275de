"""Keras' TensorBoard callback, which writes through TensorFlow whatever Keras' own backend is.

The tox environment also runs the tests of the Keras callback in `tests/callbacks` on the TensorFlow
backend.
"""

from __future__ import annotations

import os
from pathlib import Path

import keras
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from accuracy_from_weights.callbacks.keras import AccuracyFromWeights
from accuracy_from_weights.errors import AccuracyFromWeightsWarning
from tests.callbacks.scripted import Scripted, digits

KEY = "accuracy_from_weights"
X, Y = digits(64)


def fit(callbacks: list, **more) -> None:
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, epochs=4, verbose=0, callbacks=callbacks, **more)


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [
        (event.step, float(tensor_util.make_ndarray(event.tensor_proto)))
        for event in events.Tensors(f"epoch_{name}")
    ]


def test_these_tests_run_on_the_backend_that_was_asked_for():
    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]


@pytest.mark.parametrize("validation", [{}, {"validation_data": (X, Y), "validation_freq": 2}])
def test_the_training_run_holds_the_estimate_of_every_epoch(tmp_path, validation):
    ours = AccuracyFromWeights(Scripted([0.25, 0.5]), every_n_epochs=2)
    fit([ours, keras.callbacks.TensorBoard(tmp_path)], **validation)
    assert curve(tmp_path / "train", KEY) == [(0, 0.25), (1, 0.25), (2, 0.5), (3, 0.5)]
    assert [value for _, value in curve(tmp_path / "train", f"{KEY}_in_family")] == [1.0] * 4
    assert (tmp_path / "validation").exists() == bool(validation)


def test_an_epoch_without_an_estimate_leaves_a_gap(tmp_path):
    ours = AccuracyFromWeights(Scripted([OSError("x"), 0.5]))
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        fit([ours, keras.callbacks.TensorBoard(tmp_path)])
    assert [step for step, _ in curve(tmp_path / "train", KEY)] == [1, 2, 3]


def test_before_ours_it_does_not_see_the_estimate_and_that_is_said(tmp_path):
    with pytest.warns(AccuracyFromWeightsWarning, match="TensorBoard stands before it"):
        fit([keras.callbacks.TensorBoard(tmp_path), AccuracyFromWeights(Scripted([0.5]))])
    with pytest.raises(KeyError):
        curve(tmp_path / "train", KEY)
