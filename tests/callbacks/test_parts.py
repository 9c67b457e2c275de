"""Which of a model's networks is estimated is for the user to say, in every callback."""

from __future__ import annotations

from typing import Any

import keras
import lightning.pytorch
import numpy as np
import pytest
import torch

from accuracy_from_weights.callbacks.keras import AccuracyFromWeights as ForKeras
from accuracy_from_weights.callbacks.lightning import AccuracyFromWeights as ForLightning
from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.errors import AccuracyFromWeightsError, AccuracyFromWeightsWarning
from tests.callbacks import keras_runs, lightning_runs
from tests.callbacks.loop import KEY, network, train
from tests.callbacks.scripted import Informed, ReadsWeights, digits, raw_accuracy

EVERYTHING = "weights+probes+log+sample"


class Taught(torch.nn.Module):
    """A student that is trained, and a teacher of the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = network(0), network(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.teacher(x)
        return self.student(x)


def test_a_loop_names_a_module(described: Any) -> None:
    model, seen = Taught(), []
    x, y = (torch.from_numpy(array) for array in digits())
    monitor = Monitor(Informed(EVERYTHING), part="student", sample=(x.permute(0, 3, 1, 2), y))
    log = {"accuracy": 0.5, "loss": 2.0}
    train(model, 2, lambda epoch: seen.append(monitor.update(model, epoch, log=log)[KEY]))
    assert seen[-1] == raw_accuracy(model.student) != raw_accuracy(model.teacher)
    assert [given["network"] for given in described] == [model.student] * 2
    assert [given["input_shape"] for given in described] == [(1, 8, 8)] * 2


def test_a_loop_names_a_part_of_a_state_dict() -> None:
    model = Taught()
    seen = Monitor(ReadsWeights(), part="teacher").update(model.state_dict())
    assert seen[KEY] == raw_accuracy(model.teacher.state_dict())


def test_a_part_that_is_not_there_is_one_warning_that_names_those_that_are() -> None:
    monitor, model = Monitor(ReadsWeights(), part="pupil"), Taught()
    with pytest.warns(AccuracyFromWeightsWarning, match="'pupil' .* are 'student'") as caught:
        values = [monitor.update(model) for _ in range(2)]
    assert len(caught) == 1
    assert [value[KEY] for value in values] == [0.0, 0.0]


def test_what_the_whole_is_trained_for_says_nothing_about_the_part() -> None:
    model = Taught()
    model.loss = torch.nn.MSELoss()  # between the two networks
    with pytest.warns(AccuracyFromWeightsWarning, match="for regression"):
        assert Monitor(ReadsWeights()).update(model)[KEY] == 0.0
    assert Monitor(ReadsWeights(), part="student").update(model)[KEY] > 0


def test_keras_names_an_attribute(described: Any) -> None:
    class KerasTaught(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.student, self.teacher = keras_runs.network(0), keras_runs.network(1)

        def call(self, x: Any, training: bool = False) -> Any:
            self.teacher(x)
            return self.student(x, training=training)

    model = KerasTaught()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    ours = ForKeras(Informed(EVERYTHING), part="student", sample=keras_runs.DATA)
    history = keras_runs.fit(model, [ours], 2).history
    student = raw_accuracy(model.student)
    assert history[KEY][-1] == pytest.approx(student, abs=1e-6)
    assert abs(student - raw_accuracy(model.teacher)) > 1e-3
    assert [given["input_shape"] for given in described] == [(8, 8, 1)] * 2


@pytest.mark.filterwarnings(*lightning_runs.QUIET)
def test_lightning_names_a_module(described: Any) -> None:
    module = lightning_runs.make_network(lightning.pytorch)
    module.teacher = network(1)
    ours = ForLightning(Informed("weights+probes"), part="net")
    trainer, _ = lightning_runs.fit(lightning.pytorch, [ours], 2, network=module)
    assert float(trainer.callback_metrics[KEY]) == pytest.approx(raw_accuracy(module.net))
    assert [given["network"] for given in described] == [module.net] * 2


@pytest.mark.parametrize("part", ["", 3, np.zeros(2)], ids=str)
def test_a_part_is_a_name(part: Any) -> None:
    with pytest.raises(AccuracyFromWeightsError, match=r"`part=.* cannot be used"):
        Monitor(part=part)
