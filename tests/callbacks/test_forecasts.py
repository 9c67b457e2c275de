"""Forecasts beside the estimates, in real runs of Keras, Lightning and a loop of one's own."""

from __future__ import annotations

import json

import keras
import lightning.pytorch as root
import pytest

from accuracy_from_weights.callbacks.keras import AccuracyFromWeights as ForKeras
from accuracy_from_weights.callbacks.lightning import AccuracyFromWeights as ForLightning
from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.errors import AccuracyFromWeightsError, AccuracyFromWeightsWarning
from accuracy_from_weights.stopping import FirstOf, Hopeless, Patience
from tests.callbacks import keras_runs
from tests.callbacks.lightning_runs import QUIET, fit, loader
from tests.callbacks.loop import KEY, KEYS, network, train
from tests.callbacks.scripted import Foreseeing, Scripted, ours_among

FINAL = f"{KEY}_final"
FINALS = [FINAL, f"{FINAL}_low", f"{FINAL}_high"]


def updates(monitor: Monitor, n: int) -> list[dict[str, float]]:
    seen: list[dict[str, float]] = []
    train(network(), n, lambda epoch: seen.append(monitor.update(network(), epoch)))
    return seen


def test_a_loop_gets_the_forecast_for_the_share_of_the_plan_that_is_done():
    seen = updates(Monitor(Foreseeing(), forecast=True, planned_epochs=4), 5)
    assert [values[FINAL] for values in seen] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert [values[f"{FINAL}_low"] for values in seen] == [0.125, 0.25, 0.375, 0.5, 0.5]
    assert all(list(values) == KEYS + FINALS for values in seen)
    assert all(list(values) == KEYS for values in updates(Monitor(Foreseeing()), 2))


@pytest.mark.filterwarnings("ignore:.*outside the family")
def test_the_predictor_that_ships_forecasts_the_estimate_when_nothing_is_left():
    seen = updates(Monitor(forecast=True, planned_epochs=3), 3)
    for values in seen:
        assert 0 <= values[f"{FINAL}_low"] <= values[FINAL] <= values[f"{FINAL}_high"] <= 1
    assert seen[0][FINAL] > seen[0][KEY]  # a young network
    assert [seen[2][key] for key in FINALS] == pytest.approx([seen[2][key] for key in KEYS[:3]])


def test_where_a_forecast_fails_the_last_one_stands_in_and_the_estimate_stays():
    monitor = Monitor(Foreseeing(lost=[0.25, 0.75]), forecast=True, planned_epochs=4)
    with pytest.warns(AccuracyFromWeightsWarning, match="the forecast of epoch 0 fail") as caught:
        seen = updates(monitor, 4)
    assert len(ours_among(caught)) == 1
    assert [[values[key] for key in FINALS] for values in seen] == [
        [0.0, 0.0, 1.0],
        [0.5, 0.25, 1.0],
        [0.5, 0.0, 1.0],
        [1.0, 0.5, 1.0],
    ]
    assert [values[KEY] for values in seen] == [0.5] * 4
    assert all(values[f"{KEY}_in_family"] == 1 for values in seen)


def test_a_rule_may_judge_the_forecast(capsys):
    rule = FirstOf(Hopeless(0.5), Hopeless(0.9, horizon="final"))
    monitor = Monitor(Foreseeing(top=0.8), stopping=rule, forecast=True, planned_epochs=4)
    updates(monitor, 2)
    assert monitor.should_stop
    assert "(hopeless): the forecast's top, 0.8000 at step 1, has" in capsys.readouterr().out
    # A forecast that failed is not judged.
    monitor = Monitor(
        Foreseeing(top=0.8, lost=[0.5]), stopping=rule, forecast=True, planned_epochs=4
    )
    rule.reset()
    with pytest.warns(AccuracyFromWeightsWarning, match="forecast"):
        updates(monitor, 2)
    assert not monitor.should_stop
    with pytest.raises(AccuracyFromWeightsError, match=r"pass forecast=True as well"):
        Monitor(stopping=rule)


def test_between_the_updates_that_are_due_the_last_forecast_is_repeated():
    monitor = Monitor(Foreseeing(), every_n_epochs=2, forecast=True, planned_epochs=4)
    assert [values[FINAL] for values in updates(monitor, 4)] == [0.25, 0.25, 0.75, 0.75]


def test_a_resumed_run_has_the_last_forecast():
    first = Monitor(Foreseeing(), forecast=True, planned_epochs=4)
    updates(first, 2)
    second = Monitor(Foreseeing(lost=[0.75]), forecast=True, planned_epochs=4)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    with pytest.warns(AccuracyFromWeightsWarning, match="forecast"):
        values = second.update(network(), 2)
    assert [values[key] for key in FINALS] == [0.5, 0.0, 1.0]
    third = Monitor(Foreseeing())  # which does not forecast
    third.load_state_dict(first.state_dict())
    assert list(third.update(network(), 2)) == KEYS


def test_a_predictor_that_cannot_forecast_is_asked_once_and_its_estimates_stay(predictor_file):
    for predictor, sentence in (
        (Scripted([0.5]), "unexpected keyword argument"),
        (predictor_file, "fitted to runs of one checkpoint each"),
    ):
        monitor = Monitor(predictor, forecast=True, planned_epochs=3)
        with pytest.warns(AccuracyFromWeightsWarning, match=sentence) as caught:
            seen = updates(monitor, 3)
        assert len([text for text in ours_among(caught) if "forecast" in text]) == 1
        assert all(list(values) == KEYS for values in seen)


def test_a_loop_that_does_not_say_how_long_it_is_gets_one_sentence():
    with pytest.raises(AccuracyFromWeightsError, match=r"needs `planned_epochs`"):
        Monitor(forecast=True)
    with pytest.raises(AccuracyFromWeightsError, match=r"`planned_epochs=0` cannot be used"):
        Monitor(forecast=True, planned_epochs=0)
    with pytest.raises(AccuracyFromWeightsError, match=r"`forecast=.* pass True or False"):
        ForKeras(forecast="final")


def test_keras_logs_the_forecast_and_stops_on_it():
    ours = ForKeras(Foreseeing(), forecast=True)
    stop = keras.callbacks.EarlyStopping(FINAL, mode="max", patience=1, min_delta=0.3)
    history = keras_runs.fit(keras_runs.network(), [ours, stop], 4).history
    assert history[FINAL] == [0.25, 0.5]
    assert history[f"{FINAL}_low"] == [0.125, 0.25]


def test_keras_counts_from_the_first_epoch_of_a_resumed_run():
    ours = ForKeras(Foreseeing(), forecast=True)
    history = keras_runs.fit(keras_runs.network(), [ours], 4, initial_epoch=2).history
    assert history[FINAL] == [0.75, 1.0]


def test_keras_does_not_count_an_epoch_whose_forecast_failed():
    callbacks = [
        ForKeras(Foreseeing(lost=[0.4, 0.6, 0.8]), forecast=True),
        keras.callbacks.EarlyStopping(FINAL, mode="max", patience=1),
    ]
    with pytest.warns(AccuracyFromWeightsWarning, match="the forecast of epoch 1 failed"):
        history = keras_runs.fit(keras_runs.network(), callbacks, 5).history
    assert history[FINAL] == pytest.approx([0.2, 0.2, 0.2, 0.2, 1.0])


class Note(root.Callback):
    """Notes the forecast whenever a validation run and an epoch have ended."""

    def __init__(self) -> None:
        self.validations: list[float] = []
        self.epochs: list[float] = []

    def on_validation_end(self, trainer, pl_module):
        if FINAL in trainer.callback_metrics:
            self.validations.append(float(trainer.callback_metrics[FINAL]))

    def on_train_epoch_end(self, trainer, pl_module):
        if FINAL in trainer.callback_metrics:
            self.epochs.append(float(trainer.callback_metrics[FINAL]))


@pytest.mark.filterwarnings(*QUIET)
@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ({"max_epochs": 4}, [0.25, 0.5, 0.75, 1.0]),
        ({"max_epochs": -1, "max_steps": 8}, [0.5, 1.0]),
        ({"max_epochs": 8, "max_steps": 8}, [0.5, 1.0]),
    ],
)
def test_lightning_logs_the_forecast_by_epochs_or_steps(plan, expected):
    note = Note()
    fit(root, [ForLightning(Foreseeing(), forecast=True), note], **plan)
    assert note.epochs == pytest.approx(expected)


@pytest.mark.filterwarnings(*QUIET)
def test_lightning_forecasts_at_validations_within_an_epoch():
    note = Note()
    fit(
        root,
        [ForLightning(Foreseeing(), forecast=True), note],
        2,
        validate=True,
        val_check_interval=2,
        num_sanity_val_steps=0,
    )
    assert len(loader()) == 4
    assert note.validations == pytest.approx([0.25, 0.5, 0.75, 1.0])


@pytest.mark.filterwarnings(*QUIET)
def test_lightning_stops_on_the_forecast_and_does_not_count_one_that_failed():
    stop = root.callbacks.EarlyStopping(FINAL, mode="max", patience=1, min_delta=0.15)
    ours = ForLightning(Foreseeing(lost=[0.4, 0.6]), forecast=True)
    with pytest.warns(AccuracyFromWeightsWarning, match="the forecast of epoch 1 failed"):
        trainer, _ = fit(root, [stop, ours], 5)
    assert trainer.current_epoch == 5
    trainer, _ = fit(root, [stop_at_once(), ForLightning(Foreseeing(), forecast=True)], 5)
    assert trainer.current_epoch == 2


def stop_at_once() -> root.callbacks.EarlyStopping:
    return root.callbacks.EarlyStopping(FINAL, mode="max", patience=1, min_delta=0.3)


@pytest.mark.filterwarnings(*QUIET)
def test_without_an_end_nothing_is_forecast_with_one_sentence():
    note, ours = Note(), ForLightning(Scripted([0.5]), stopping=Patience(2), forecast=True)
    with pytest.warns(AccuracyFromWeightsWarning, match="how long the training is") as caught:
        trainer, _ = fit(root, [ours, note], -1)
    assert len(ours_among(caught)) == 1
    assert trainer.current_epoch == 3
    assert note.epochs == []
