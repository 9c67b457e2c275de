"""The Keras callback in real, tiny `fit` runs, on whichever backend KERAS_BACKEND names."""

from __future__ import annotations

import csv
import os
import random
import warnings

import keras
import numpy as np
import pytest

import accuracy_from_weights
from accuracy_from_weights.callbacks.keras import AccuracyFromWeights
from accuracy_from_weights.errors import AccuracyFromWeightsError, AccuracyFromWeightsWarning
from accuracy_from_weights.features.describing import describe_network
from accuracy_from_weights.stopping import Hopeless, Patience, StopReason
from tests.callbacks import keras_runs
from tests.callbacks.keras_runs import KEY, KEYS, Snapshots, X, Y, assert_same, fit, network
from tests.callbacks.scripted import (
    RULES,
    Answer,
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


def everything_random() -> list:
    state = [random.getstate(), np.random.get_state()[1].tobytes()]  # noqa: NPY002 - the global one
    if keras.backend.backend() == "torch":
        import torch

        state.append(torch.get_rng_state().numpy().tobytes())
    return state


def test_training_is_bit_for_bit_the_same_with_and_without_the_callback():
    runs = []
    for callbacks in ([], [AccuracyFromWeights(ReadsWeights(), stopping=Patience(99))]):
        model = network(seed=7)
        history = fit(model, callbacks, epochs=3, validation_data=(X, Y)).history
        losses = {key: value for key, value in history.items() if KEY not in key}
        # Among the model's variables are the states of its dropout layers' random generators.
        variables = [*model.variables, *model.optimizer.variables]
        arrays = [keras.ops.convert_to_numpy(variable) for variable in variables]
        runs.append((arrays, losses, everything_random()))
    (arrays, *rest), (arrays_without, *rest_without) = runs
    assert_same(arrays, arrays_without)
    assert rest == rest_without


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

    monkeypatch.setitem(vars(accuracy_from_weights), "load_predictor", load)
    ours = AccuracyFromWeights()
    assert asked == []
    assert fit(network(), [ours]).history[KEY] == [0.5] * 3
    assert asked == [(None, "weights")]


def test_a_predictor_file_that_is_not_there_is_told_at_construction(tmp_path):
    with pytest.raises(AccuracyFromWeightsError, match=r"missing\.predictor"):
        AccuracyFromWeights(tmp_path / "missing.predictor")


# What goes wrong inside the callback stays inside.


class Broken(Patience):
    def update(self, estimate, step):
        raise ZeroDivisionError("a rule of the user's own")


class BrokenReset(Patience):
    broken = False

    def reset(self):
        if self.broken:
            raise ZeroDivisionError("a rule of the user's own")
        super().reset()
        self.broken = True


class Touchy(keras.callbacks.Callback):
    """A callback of the user's own that does not like to be looked at."""

    @property
    def monitor(self):
        raise ZeroDivisionError("no monitor here")


def fail(*args, **kwargs):
    raise ZeroDivisionError("injected")


FAULTS = {
    "estimate": (lambda patch: [AccuracyFromWeights(Scripted([ZeroDivisionError("x")]))], 1),
    "not finite": (lambda patch: [AccuracyFromWeights(Scripted([Answer(float("nan"))]))], 1),
    "no estimate": (lambda patch: [AccuracyFromWeights(Scripted([Answer(None)]))], 1),
    "memory": (lambda patch: [AccuracyFromWeights(Scripted([MemoryError()]))], 1),
    "load": (
        lambda patch: (
            patch.setitem(vars(accuracy_from_weights), "load_predictor", fail),
            [AccuracyFromWeights()],
        )[1],
        1,
    ),
    "read": (
        lambda patch: (
            patch.setattr("accuracy_from_weights.features.describing.read_weights", fail),
            [AccuracyFromWeights(ReadsWeights())],
        )[1],
        1,
    ),
    "rule": (lambda patch: [AccuracyFromWeights(Scripted([0.5]), stopping=Broken())], 1),
    "reset": (lambda patch: [AccuracyFromWeights(Scripted([0.5]), stopping=BrokenReset())], 1),
    "neighbour": (lambda patch: [AccuracyFromWeights(Scripted([0.5])), Touchy()], 1),
    "patience": (
        lambda patch: (
            patch.setattr("accuracy_from_weights.callbacks.keras.hold_patience", fail),
            [AccuracyFromWeights(Scripted([0.5, OSError("x")]))],
        )[1],
        2,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_training_ends_as_without_and_warns_once(fault, monkeypatch):
    plain = network(seed=3)
    expected = fit(plain, [], epochs=3).history
    model = network(seed=3)
    make, n_warnings = FAULTS[fault]
    with pytest.warns(AccuracyFromWeightsWarning, match="failed and training goes on") as caught:
        history = fit(model, make(monkeypatch), epochs=3).history
    assert len(ours_among(caught)) == n_warnings
    quoted = [one.filename for one in caught if one.category is AccuracyFromWeightsWarning]
    assert set(quoted) == {keras_runs.__file__}  # where `fit` is called, and no line of Keras'
    assert {key: history[key] for key in expected} == expected
    assert_same(model.get_weights(), plain.get_weights())
    assert all(np.isfinite(value) for values in history.values() for value in values)


@pytest.mark.filterwarnings("ignore:Early stopping conditioned on metric")
def test_early_stopping_does_not_end_a_run_whose_estimates_all_fail():
    plain = network(seed=3)
    fit(plain, [], epochs=5)
    model = network(seed=3)
    stopper = keras.callbacks.EarlyStopping(KEY, mode="max", patience=1, restore_best_weights=True)
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        history = fit(model, [AccuracyFromWeights(Scripted([OSError("x")])), stopper], epochs=5)
    assert history.epoch == [0, 1, 2, 3, 4]
    assert KEY not in history.history
    assert_same(model.get_weights(), plain.get_weights())


@pytest.mark.parametrize("patience", [0, 1, 2])
def test_epochs_whose_estimate_failed_do_not_count_against_patience(patience):
    lost = OSError("x")
    answers = [0.5, lost, lost, lost, 0.6, *[lost] * 3, *[0.4] * 9]
    stopper = keras.callbacks.EarlyStopping(KEY, mode="max", patience=patience)
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        history = fit(network(), [AccuracyFromWeights(Scripted(answers)), stopper], epochs=17)
    assert stopper.stopped_epoch == 8 + max(patience - 1, 0)
    assert history.history[KEY][:6] == [0.5, 0.5, 0.5, 0.5, 0.6, 0.6]
    assert history.history[f"{KEY}_low"][1] == 0.0
    assert history.history[f"{KEY}_high"][1] == 1.0
    assert history.history[f"{KEY}_in_family"][:5] == [1.0, 0.0, 0.0, 0.0, 1.0]


def test_an_epoch_whose_estimate_failed_is_not_taken_for_the_best(tmp_path):
    path = tmp_path / "best.weights.h5"
    snapshots = Snapshots()
    saver = keras.callbacks.ModelCheckpoint(
        path, monitor=KEY, mode="max", save_best_only=True, save_weights_only=True
    )
    ours = AccuracyFromWeights(Scripted([0.3, 0.6, OSError("x")]))
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        fit(network(), [ours, saver, snapshots], epochs=4)
    best = network(seed=9)
    best.load_weights(path)
    assert_same(best.get_weights(), snapshots.weights[1])


def test_file_names_made_of_the_estimate_do_not_crash_when_it_fails(tmp_path):
    path = str(tmp_path / "{epoch}-{accuracy_from_weights:.2f}.weights.h5")
    saver = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    ours = AccuracyFromWeights(Scripted([OSError("x"), 0.5]))
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        fit(network(), [ours, saver], epochs=2)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "1-0.00.weights.h5",
        "2-0.50.weights.h5",
    ]


# Other callbacks that cannot use the estimate are told so before the first epoch.


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
