"""The Keras callback in real, tiny `fit` runs, on whichever backend KERAS_BACKEND names."""

from __future__ import annotations

import csv
import os
import warnings

import keras
import numpy as np
import pytest

import accuracy_from_weights
from accuracy_from_weights.callbacks.keras import AccuracyFromWeights
from accuracy_from_weights.errors import AccuracyFromWeightsError, AccuracyFromWeightsWarning
from accuracy_from_weights.features.describing import describe_network
from accuracy_from_weights.stopping import Hopeless, Patience, StopReason
from tests.callbacks.keras_runs import (
    KEY,
    KEYS,
    Snapshots,
    X,
    Y,
    assert_same,
    fit,
    network,
    outcome,
)
from tests.callbacks.scripted import (
    RULES,
    ReadsWeights,
    Scripted,
    answer,
    ours_among,
    untrained_accuracy,
)


@pytest.mark.parametrize("validation", [None, (X, Y)])
def test_history_holds_the_estimate_and_its_interval_at_every_epoch(validation):
    predictor = Scripted([answer(0.3), answer(0.95, in_family=True)])
    history = fit(network(), [AccuracyFromWeights(predictor)], validation_data=validation).history
    assert history[KEY] == [0.3, 0.95, 0.95]
    assert history[f"{KEY}_low"] == pytest.approx([0.2, 0.85, 0.85])
    assert history[f"{KEY}_high"] == pytest.approx([0.4, 1.0, 1.0])
    assert history[f"{KEY}_in_family"] == [1.0, 1.0, 1.0]
    assert ("val_loss" in history) == (validation is not None)
    assert predictor.calls == 3


def test_the_weights_seen_are_those_of_the_epoch_that_just_ended():
    predictor, snapshots = Scripted([0.5]), Snapshots()
    model = network()
    fit(model, [AccuracyFromWeights(predictor), snapshots])
    for epoch, row in enumerate(predictor.rows):
        model.set_weights(snapshots.weights[epoch])
        assert row.tobytes() == describe_network(model).tobytes()
    assert predictor.rows[0].tobytes() != predictor.rows[1].tobytes()


def test_early_stopping_stops_on_the_estimate_and_restores_its_best_weights():
    predictor = Scripted([0.3, 0.5, 0.7, 0.6, 0.6, 0.9])
    snapshots = Snapshots()
    model = network()
    stopper = keras.callbacks.EarlyStopping(KEY, mode="max", patience=2, restore_best_weights=True)
    fit(model, [AccuracyFromWeights(predictor), stopper, snapshots], epochs=8)
    assert sorted(snapshots.weights) == [0, 1, 2, 3, 4]
    assert stopper.stopped_epoch == 4
    assert_same(model.get_weights(), snapshots.weights[2])


def test_model_checkpoint_keeps_the_epoch_with_the_best_estimate(tmp_path):
    path = tmp_path / "best.keras"
    snapshots = Snapshots()
    saver = keras.callbacks.ModelCheckpoint(path, monitor=KEY, mode="max", save_best_only=True)
    predictor = Scripted([0.3, 0.8, 0.5, 0.7])
    fit(network(), [AccuracyFromWeights(predictor), saver, snapshots], epochs=4)
    assert_same(keras.saving.load_model(path).get_weights(), snapshots.weights[1])


@pytest.mark.parametrize("validation", [{}, {"validation_data": (X, Y), "validation_freq": 2}])
def test_csv_logger_has_the_columns_from_the_first_row_on(tmp_path, validation):
    path = tmp_path / "log.csv"
    ours = AccuracyFromWeights(Scripted([0.25, 0.5]), every_n_epochs=2)
    fit(network(), [ours, keras.callbacks.CSVLogger(path)], epochs=4, **validation)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row[KEY]) for row in rows] == [0.25, 0.25, 0.5, 0.5]
    assert all(float(row[key]) == float(row[key]) for row in rows for key in KEYS)


def test_between_the_epochs_that_are_due_the_last_value_is_repeated():
    predictor = Scripted([0.1, 0.2, 0.3])
    history = fit(network(), [AccuracyFromWeights(predictor, every_n_epochs=3)], epochs=7).history
    assert history[KEY] == [0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.3]
    assert predictor.calls == 3


def test_two_callbacks_with_different_names_work_side_by_side():
    callbacks = [
        AccuracyFromWeights(Scripted([0.1, 0.2]), name="one"),
        AccuracyFromWeights(Scripted([0.8, 0.9]), name="two"),
        keras.callbacks.EarlyStopping("two", mode="max", patience=1),
    ]
    history = fit(network(), callbacks, epochs=5).history
    assert history["one"] == [0.1, 0.2, 0.2]
    assert history["two"] == [0.8, 0.9, 0.9]
    assert history["two_high"] == pytest.approx([0.9, 1.0, 1.0])


def test_these_tests_run_on_the_backend_that_was_asked_for():
    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]


def test_training_is_bit_for_bit_the_same_with_and_without_the_callback():
    runs = []
    for callbacks in ([], [AccuracyFromWeights(ReadsWeights(), stopping=Patience(99))]):
        model = network(seed=7)
        runs.append(outcome(model, fit(model, callbacks, epochs=3, validation_data=(X, Y))))
    assert runs[0] == runs[1]


def test_training_that_is_resumed_goes_on_counting_its_epochs():
    predictor = Scripted([0.1, 0.2, 0.3])
    model = network()
    ours = AccuracyFromWeights(predictor, every_n_epochs=2)
    assert fit(model, [ours], epochs=3).history[KEY] == [0.1, 0.1, 0.2]
    # Epoch 3 is not due, but it is the first that this run sees.
    again = model.fit(
        X, Y, epochs=6, initial_epoch=3, verbose=0, callbacks=[ours], batch_size=64
    ).history
    assert again[KEY] == [0.3, 0.3, 0.3]
    assert predictor.calls == 4


class Interrupt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise RuntimeError("the machine went away")


def test_backup_and_restore_takes_up_the_run_with_the_estimate(tmp_path):
    def callbacks(answers):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        return [AccuracyFromWeights(Scripted(answers)), backup]

    with pytest.raises(RuntimeError, match="went away"):
        fit(network(), [*callbacks([0.1, 0.2]), Interrupt()], epochs=4)
    history = fit(network(seed=5), callbacks([0.7, 0.8]), epochs=4)
    assert history.epoch == [2, 3]
    assert history.history[KEY] == [0.7, 0.8]


def test_a_resumed_run_keeps_its_rule_and_a_new_run_starts_it_afresh():
    rule = Patience(3)
    ours = AccuracyFromWeights(Scripted([0.9, 0.1]), stopping=rule)
    model = network()
    fit(model, [ours], epochs=2)
    assert rule.waited == 1
    history = fit(model, [ours], epochs=9, initial_epoch=2)
    assert history.epoch == [2, 3]
    assert ours.decision.reason is StopReason.NO_IMPROVEMENT
    assert fit(network(), [ours], epochs=2).epoch == [0, 1]
    assert not ours.decision.stop


def test_a_stopping_rule_ends_the_run_and_says_why(capsys):
    ours = AccuracyFromWeights(Scripted([0.2]), stopping=Hopeless(0.9, patience=2))
    assert fit(network(), [ours], epochs=6).epoch == [0, 1]
    assert ours.decision.reason is StopReason.HOPELESS
    said = capsys.readouterr().out
    assert "stopped at step 1 (hopeless)" in said
    assert "0.9000" in said


@pytest.mark.parametrize(("rule", "answers", "epochs", "reason"), RULES)
def test_every_rule_ends_a_run_for_its_reason(rule, answers, epochs, reason):
    ours = AccuracyFromWeights(Scripted(answers), stopping=rule())
    assert fit(network(), [ours], 6).epoch == list(range(epochs))
    assert ours.decision.reason == reason


def test_verbose_prints_each_new_estimate(capsys):
    fit(network(), [AccuracyFromWeights(Scripted([0.25]), every_n_epochs=2, verbose=1)])
    said = capsys.readouterr().out.splitlines()
    assert said == [f"Epoch {at}: {KEY} 0.2500 [0.1500, 0.3500]" for at in (0, 2)]


def test_a_network_outside_the_family_is_estimated_with_one_warning():
    predictor = Scripted([answer(0.6, in_family=False)])
    with pytest.warns(AccuracyFromWeightsWarning, match="outside the family") as caught:
        history = fit(network(), [AccuracyFromWeights(predictor)]).history
    assert len(ours_among(caught)) == 1
    assert history[KEY] == [0.6] * 3
    assert history[f"{KEY}_in_family"] == [0.0] * 3


def test_nothing_but_exceptions_is_held_back():
    with pytest.raises(KeyboardInterrupt):
        fit(network(), [AccuracyFromWeights(Scripted([KeyboardInterrupt()]))])


def test_batches_are_left_alone_so_that_keras_may_dispatch_asynchronously():
    hooks = ("on_batch_end", "on_train_batch_end", "on_test_batch_end", "on_predict_batch_end")
    assert not set(hooks) & set(vars(AccuracyFromWeights))
    plain, ours = (
        {
            name: value
            for name, value in vars(keras.callbacks.CallbackList(c)).items()
            if "_async" in name
        }
        for c in ([], [AccuracyFromWeights()])
    )
    assert ours == plain  # of older Kerases both are empty


# With a real predictor.


def test_the_estimates_are_those_of_the_predictor_and_training_is_untouched(predictor_file):
    predictor = accuracy_from_weights.load_predictor(predictor_file)
    snapshots, expected = Snapshots(), []

    class Expect(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            expected.append(predictor.estimate(self.model))

    plain = network(seed=6)
    fit(plain, [])
    model = network(seed=6)
    # What a network of another shape is like, this predictor cannot know.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyFromWeightsWarning)
        callbacks = [AccuracyFromWeights(str(predictor_file)), Expect(), snapshots]
        history = fit(model, callbacks).history
    assert history[KEY] == [estimate.accuracy for estimate in expected]
    assert history[f"{KEY}_low"] == [estimate.low for estimate in expected]
    assert history[f"{KEY}_high"] == [estimate.high for estimate in expected]
    assert_same(model.get_weights(), plain.get_weights())


def test_a_network_that_diverges_gets_the_estimate_of_an_untrained_one(predictor_file, tmp_path):
    ours = AccuracyFromWeights(predictor_file)
    callbacks = [
        ours,
        keras.callbacks.EarlyStopping(KEY, mode="max", patience=3, restore_best_weights=True),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
    ]
    model = network(learning_rate=1e30)
    with pytest.warns(AccuracyFromWeightsWarning, match="NaN or infinity") as caught:
        history = fit(model, callbacks, epochs=6).history
    assert len(ours_among(caught)) == 1
    assert np.isnan(model.get_weights()[0]).any()
    assert len(history[KEY]) == 4
    assert set(history[KEY]) == {untrained_accuracy(predictor_file)}
    assert all(np.isfinite(history[key]).all() for key in KEYS)


def test_the_shipped_predictor_is_loaded_when_the_first_epoch_ends(monkeypatch):
    asked = []

    def load(path=None, features=None):
        asked.append((path, features))
        return Scripted([0.5])

    monkeypatch.setattr("accuracy_from_weights.predictor.pretrained.load_predictor", load)
    ours = AccuracyFromWeights()
    assert asked == []
    assert fit(network(), [ours]).history[KEY] == [0.5] * 3
    assert asked == [(None, "weights")]


def test_a_predictor_file_that_is_not_there_is_told_at_construction(tmp_path):
    with pytest.raises(AccuracyFromWeightsError, match=r"missing\.predictor"):
        AccuracyFromWeights(tmp_path / "missing.predictor")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"every_n_epochs": 0}, r"`every_n_epochs=0` .* an integer"),
        ({"name": "val_accuracy"}, r"`name='val_accuracy'` cannot .* not starting with 'val_'"),
        ({"name": ""}, r"`name=''` cannot be used"),
        ({"predictor": 3}, r"`predictor=3` cannot be used"),
        ({"predictor": Scripted}, r"`predictor=.* pass an AccuracyPredictor"),
        ({"stopping": 5}, r"`stopping=5` cannot be used"),
        ({"stopping": Patience}, r"`stopping=.* pass a rule from"),
        ({"verbose": "yes"}, r"`verbose='yes'` .* pass True or False"),
    ],
)
def test_bad_arguments_are_told_at_construction(arguments, expected):
    with pytest.raises(AccuracyFromWeightsError, match=expected):
        AccuracyFromWeights(**arguments)
