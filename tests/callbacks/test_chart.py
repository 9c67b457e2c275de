"""One chart for a tracker, drawn anew at each estimate, whatever the framework."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as root
import pytest
import torch

from accuracy_from_weights.callbacks.keras import AccuracyFromWeights as ForKeras
from accuracy_from_weights.callbacks.lightning import AccuracyFromWeights as ForLightning
from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.errors import (
    AccuracyFromWeightsError,
    AccuracyFromWeightsWarning,
    MissingDependencyError,
)
from tests.callbacks import keras_runs, lightning_runs
from tests.callbacks.charts import Taken
from tests.callbacks.loop import network, train
from tests.callbacks.scripted import Informed, Scripted, ours_among, raw_accuracy
from tests.callbacks.test_lightning_evidence import measuring

ANSWERS = [0.25, 0.5, 0.75]


def test_a_loop_hands_over_a_chart_at_each_estimate_and_goes_on_after_it_is_resumed():
    taken = Taken()
    monitor = Monitor(Scripted(ANSWERS), every_n_epochs=2, chart_to=taken)
    for step in (10, 20, 30):
        monitor.update(network(), step)
    resumed = Monitor(Scripted([0.75]), every_n_epochs=2, chart_to=taken)
    resumed.load_state_dict(monitor.state_dict())
    for step in (40, 50):
        resumed.update(network(), step)
    assert taken.steps == [10, 30, 50]
    assert taken.estimates == [[0.25], [0.25, 0.5], [0.25, 0.5, 0.75]]
    assert taken.truths == [None] * 3


def test_the_truth_is_what_validate_measures():
    taken = Taken()
    monitor = Monitor(chart_to=taken, validate=lambda model: 0.5, anchor_every=2)
    for _ in range(2):
        monitor.update(network())
    first, second = taken.truths
    assert first == [0.5]
    assert second == pytest.approx([0.5, float("nan")], nan_ok=True)


def test_a_loop_may_log_the_truth_of_which_the_estimate_knows_nothing(described):
    taken = Taken()
    monitor = Monitor(Informed("weights+probes+log"), input_shape=(1, 8, 8), chart_to=taken)
    log = {"acc": 0.6, "loss": 1.0, "val_acc": 0.5}
    seen = monitor.update(network(), log=log)
    assert taken.truths == [[0.5]]
    assert described[0]["log"] == {"accuracy": 0.6, "loss": 1.0}
    assert seen["accuracy_from_weights"] == raw_accuracy(network())


def test_tensorboard_holds_a_picture_of_each_epoch(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        monitor = Monitor(
            Scripted(ANSWERS),
            chart_to=lambda figure, step: writer.add_figure("accuracy", figure, step),
        )
        model = network()
        train(model, 3, lambda epoch: monitor.update(model, epoch) and False)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    images = events.Images("accuracy")
    assert [image.step for image in images] == [0, 1, 2]
    assert all(image.encoded_image_string.startswith(b"\x89PNG") for image in images)


@pytest.mark.parametrize("validates", [True, False])
def test_keras_shows_its_validation(validates):
    taken = Taken()
    data = {"validation_data": keras_runs.DATA} if validates else {}
    ours = ForKeras(Scripted(ANSWERS), chart_to=taken)
    history = keras_runs.fit(keras_runs.network(), [ours], 3, **data).history
    assert taken.estimates[-1] == ANSWERS
    assert taken.truths[-1] == history.get("val_accuracy")
    assert taken.steps == [0, 1, 2]
    keras_runs.fit(keras_runs.network(), [ours], 1)
    assert len(taken.estimates[-1]) == 1, "a new run has a chart of its own"


@pytest.mark.filterwarnings(*lightning_runs.QUIET)
def test_lightning_shows_its_validation():
    taken, module = Taken(), measuring()
    ours = ForLightning(Scripted(ANSWERS), chart_to=taken)
    trainer, _ = lightning_runs.fit(root, [ours], 3, network=module, validate=True)
    assert taken.estimates[-1] == ANSWERS
    assert taken.steps == [0, 1, 2]
    assert taken.truths[-1][-1] == pytest.approx(float(trainer.callback_metrics["val_acc"]))


@pytest.mark.filterwarnings(*lightning_runs.QUIET)
def test_an_accuracy_that_lightning_logs_late_is_drawn_all_the_same():
    class Late(type(lightning_runs.make_network(root))):
        def on_validation_epoch_end(self) -> None:
            self.log("val_acc", 0.5)

    taken, module = Taken(), lightning_runs.make_network(root)
    module.__class__ = Late
    ours = ForLightning(Scripted(ANSWERS), chart_to=taken)
    lightning_runs.fit(root, [ours], 2, network=module, validate=True)
    assert taken.estimates[-1] == ANSWERS[:2]
    assert taken.truths[-1] == [0.5, 0.5]


def test_of_several_processes_the_first_one_draws(monkeypatch):
    taken = Taken()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    for rank in (1, 0):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        Monitor(Scripted(ANSWERS), chart_to=taken).update(network(), rank)
    assert taken.steps == [0]


def test_a_tracker_that_fails_is_one_warning():
    def fail(figure: Any, step: int) -> None:
        raise OSError("no connection")

    monitor = Monitor(Scripted(ANSWERS), chart_to=fail)
    with pytest.warns(AccuracyFromWeightsWarning, match="the chart failed.*no connect") as caught:
        seen = [monitor.update(network())["accuracy_from_weights"] for _ in range(3)]
    assert len(ours_among(caught)) == 1
    assert seen == ANSWERS


def test_what_cannot_work_is_told_at_construction(monkeypatch):
    with pytest.raises(AccuracyFromWeightsError, match=r"`chart_to='mlflow'` cannot be used"):
        Monitor(chart_to="mlflow")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    Monitor()
    with pytest.raises(MissingDependencyError, match=r"accuracy-from-weights\[plot\]"):
        Monitor(chart_to=Taken())
