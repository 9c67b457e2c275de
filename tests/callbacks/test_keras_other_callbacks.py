"""The Keras callback warns before the first epoch of callbacks that cannot use the estimate."""

from __future__ import annotations

import warnings

import keras
import pytest

from accuracy_from_weights.callbacks.keras import AccuracyFromWeights
from accuracy_from_weights.errors import AccuracyFromWeightsWarning
from tests.callbacks.keras_runs import KEY, fit, network
from tests.callbacks.scripted import Scripted, ours_among


def stopper(monitor: str = KEY, **more) -> keras.callbacks.EarlyStopping:
    return keras.callbacks.EarlyStopping(monitor, **{"mode": "max", "patience": 50, **more})


def test_a_missing_mode_is_set_with_a_warning_where_keras_alone_would_raise():
    early = stopper(mode="auto", patience=1)
    with pytest.warns(AccuracyFromWeightsWarning, match="without a `mode`") as caught:
        history = fit(network(), [AccuracyFromWeights(Scripted([0.5, 0.6, 0.4])), early], epochs=5)
    assert len(ours_among(caught)) == 1
    assert history.epoch == [0, 1, 2]
    with pytest.raises(ValueError, match="Pass `mode='max'`"):
        fit(network(), [AccuracyFromWeights(Scripted([0.5]), name="other"), stopper(mode="auto")])


@pytest.mark.filterwarnings("ignore:Early stopping conditioned on metric")
@pytest.mark.filterwarnings("ignore:Learning rate reduction is conditioned on metric")
@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (lambda ours, tmp: [stopper(), ours], "EarlyStopping stands before it"),
        (
            lambda ours, tmp: [
                keras.callbacks.ModelCheckpoint(tmp / "a.keras", monitor=KEY, mode="max"),
                ours,
            ],
            "ModelCheckpoint stands before it",
        ),
        (
            lambda ours, tmp: [keras.callbacks.CSVLogger(tmp / "a.csv"), ours],
            "CSVLogger stands before it",
        ),
        (
            lambda ours, tmp: [ours, stopper("val_accuracy_from_weights")],
            "Did you mean 'accuracy_from_weights'",
        ),
        (
            lambda ours, tmp: [ours, stopper("accuracy_from_weight_low")],
            "Did you mean 'accuracy_from_weights_low'",
        ),
        (
            lambda ours, tmp: [ours, stopper("accuracy_from_weights_final")],
            "'accuracy_from_weights_final', which this callback logs with forecast=True only",
        ),
        (
            lambda ours, tmp: [
                ours,
                keras.callbacks.ReduceLROnPlateau("acuracy_from_weights", mode="max"),
            ],
            "ReduceLROnPlateau monitors 'acuracy_from_weights'",
        ),
        (lambda ours, tmp: [ours, stopper(mode="min")], "prefers the worst epoch"),
        (
            lambda ours, tmp: [AccuracyFromWeights(Scripted([0.5])), ours],
            "two callbacks log under the name",
        ),
    ],
)
def test_callbacks_that_cannot_use_the_estimate_are_named_once(others, expected, tmp_path):
    ours = AccuracyFromWeights(Scripted([0.5]))
    with pytest.warns(AccuracyFromWeightsWarning, match=expected) as caught:
        fit(network(), others(ours, tmp_path))
    assert len(ours_among(caught)) == 1


def test_callbacks_that_are_fine_are_not_complained_of(tmp_path):
    callbacks = [
        keras.callbacks.EarlyStopping("loss", patience=50),
        keras.callbacks.EarlyStopping("accuracy", patience=50),
        AccuracyFromWeights(Scripted([0.5]), name="one"),
        AccuracyFromWeights(Scripted([0.5]), name="one_two"),
        AccuracyFromWeights(Scripted([0.5])),
        stopper(),
        stopper("accuracy_from_weights_low"),
        stopper("one_two"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error", AccuracyFromWeightsWarning)
        assert fit(network(), callbacks).epoch == [0, 1, 2]
