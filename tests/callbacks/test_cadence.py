"""Estimates stay within their share of the training's time, by a clock of the tests' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import torch

from accuracy_from_weights.callbacks import cadence, judging
from accuracy_from_weights.callbacks.keras import AccuracyFromWeights
from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.errors import AccuracyFromWeightsWarning
from accuracy_from_weights.features.describing import describe_network
from tests.callbacks import keras_runs
from tests.callbacks.keras_runs import KEY
from tests.callbacks.loop import network
from tests.callbacks.scripted import Foreseeing, Informed, Scripted

FREE, SHARE = cadence.FREE_SECONDS, cadence.SHARE


class Clock:
    """Seconds that pass when a test says so, and the estimates' part of them."""

    def __init__(self) -> None:
        self.now, self.described = 1e6, 0.0

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cadence, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(cadence, "FREE_SECONDS", FREE)
    return clock


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Callable[[float], None]:
    """Have each description of a network take so many seconds."""

    def take(seconds: float) -> None:
        def describe(*arguments: Any, **evidence: Any) -> Any:
            clock.pass_by(seconds)
            clock.described += seconds
            return describe_network(*arguments, **evidence)

        monkeypatch.setattr(judging, "describe_network", describe)

    return take


def estimated(monitor: Monitor, clock: Clock, epoch_takes: float, epochs: int) -> list[int]:
    """Return the epochs of a run whose values are new ones."""
    model, found, last = network(), [], None
    for epoch in range(epochs):
        clock.pass_by(epoch_takes)
        values = monitor.update(model, epoch)
        if values[KEY] != last:
            found.append(epoch)
        last = values[KEY]
    return found


RISING = [at / 1000 for at in range(1, 1000)]


@pytest.mark.parametrize(
    ("epoch_takes", "estimate_takes", "expected"),
    [
        # Seconds: each epoch, since ten seconds are free.
        (0.5, 0.5, [*range(20)]),
        # Minutes, of which an estimate takes little.
        (60, 1, [*range(20)]),
        # Ten seconds are soon gone; then an epoch earns a fifth of an estimate.
        (10, 1, [*range(12), 14, 19]),
        (100, 60, [0]),
    ],
)
def test_estimates_keep_to_their_share(
    epoch_takes: float, estimate_takes: float, expected: list[int], clock: Clock, slow: Any
) -> None:
    slow(estimate_takes)
    assert estimated(Monitor(Scripted(RISING)), clock, epoch_takes, 20) == expected
    if len(expected) > 1:
        assert clock.described <= FREE + SHARE * 20 * epoch_takes


def test_the_last_epoch_that_is_planned_is_estimated(clock: Clock, slow: Any) -> None:
    slow(60)
    monitor = Monitor(Scripted(RISING), planned_epochs=20)
    assert estimated(monitor, clock, 100, 20) == [0, 19]


def test_a_number_goes_before_the_clock(clock: Clock, slow: Any) -> None:
    slow(60)
    assert estimated(Monitor(Scripted(RISING), every_n_epochs=3), clock, 1, 9) == [0, 3, 6]


def test_what_fails_slowly_is_not_tried_at_each_epoch(clock: Clock, slow: Any) -> None:
    slow(60)
    predictor = Scripted([OSError("lost")])
    with pytest.warns(AccuracyFromWeightsWarning, match="failed and training goes on"):
        estimated(Monitor(predictor), clock, 100, 20)
    assert predictor.calls == 1


def test_truths_are_estimated_when_they_are_due_and_cost_nothing_of_ours(
    clock: Clock, slow: Any
) -> None:
    slow(60)
    taken: list[float] = []

    def validate(model: torch.nn.Module) -> float:
        clock.pass_by(1000)
        taken.append(clock.now)
        return 0.5

    monitor = Monitor(Informed(), anchor_every=4, validate=validate)
    estimated(monitor, clock, 100, 10)
    assert clock.described == 3 * 60  # at epochs 0, 4 and 8
    assert len(taken) == 3
    monitor = Monitor(Informed(), anchor_every=4, validate=validate)
    slow(0.5)
    clock.described = 0
    estimated(monitor, clock, 1, 10)
    assert clock.described == 10 * 0.5  # a validation is no estimate


class Passing(keras.callbacks.Callback):
    """Has each epoch take ten seconds, and counts them."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.epochs = clock, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.clock.pass_by(10)
        self.epochs += 1


def test_keras_waits_for_estimates_and_logs_each_epoch(clock: Clock, slow: Any) -> None:
    slow(20)
    stopper = keras.callbacks.EarlyStopping(KEY, mode="max", patience=1)
    plateau = keras.callbacks.ReduceLROnPlateau(KEY, mode="max", patience=1)
    ours = AccuracyFromWeights(Scripted([0.5, 0.6]))
    passing = Passing(clock)
    history = keras_runs.fit(keras_runs.network(), [passing, ours, stopper, plateau], 6).history
    # Five epochs bring nothing new, which is not for want of progress.
    assert history[KEY] == [0.5] * 5 + [0.6]
    assert len(set(history["learning_rate"])) == 1


def test_a_new_run_starts_the_clock_and_a_resumed_one_goes_on(clock: Clock, slow: Any) -> None:
    slow(8)
    predictor, model = Scripted([0.5]), keras_runs.network()
    ours = AccuracyFromWeights(predictor)
    counts = []
    for begin, end in ((0, 3), (3, 6), (0, 3)):
        keras_runs.fit(model, [Passing(clock), ours], end, initial_epoch=begin)
        counts.append(predictor.calls)
    assert counts == [2, 4, 6]  # the first epoch of each run and its last one


def test_a_forecast_is_repeated_with_the_estimate(clock: Clock, slow: Any) -> None:
    slow(60)
    monitor = Monitor(Foreseeing(), forecast=True, planned_epochs=10)
    model, finals = network(), []
    for epoch in range(10):
        clock.pass_by(1)
        finals.append(monitor.update(model, epoch)[f"{KEY}_final"])
    assert finals == pytest.approx([0.1] * 9 + [1.0])


def test_processes_that_cannot_be_asked_estimate_at_each_epoch(
    clock: Clock, slow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(60)
    monkeypatch.setattr("accuracy_from_weights.callbacks.hooks.rank_and_number", lambda: (1, 2))
    assert estimated(Monitor(Scripted(RISING)), clock, 1, 5) == [0, 1, 2, 3, 4]
