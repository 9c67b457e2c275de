"""Hundreds of epochs, many threads, a fork: nothing leaks, nothing waits, nothing mixes."""

from __future__ import annotations

import gc
import multiprocessing
import threading
import tracemalloc
import warnings

import keras
import numpy as np
import pytest

from accuracy_from_weights.callbacks.keras import AccuracyFromWeights
from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.errors import AccuracyFromWeightsWarning
from accuracy_from_weights.stopping import FirstOf, Hopeless, Patience, Plateau
from tests.callbacks import keras_runs, loop
from tests.callbacks.loop import KEY
from tests.callbacks.scripted import ReadsWeights, answer, raw_accuracy

EPOCHS = 800
# That may be held at the end and not after half of the epochs: Python's lists of freed tuples and
# numbers fill by up to 30,000 bytes, and stop growing after some 2,000 epochs.
BYTES = 50_000


class Fleeting:
    """Fails at times, is outside its family at times, and can be anchored; keeps nothing."""

    def __init__(self) -> None:
        self.calls = 0

    def judge(self, rows):
        self.calls += 1
        if self.calls % 7 == 0:
            raise OSError(f"call {self.calls}")
        return [answer(0.5 + 0.4 * np.sin(self.calls), in_family=self.calls % 5 > 0)]


def rules() -> FirstOf:
    return FirstOf(Patience(10**6), Plateau(50, share=0.0), Hopeless(0.0))


def growth(one_epoch) -> int:
    """Return how many bytes more are held after all epochs than after half of them."""
    held = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyFromWeightsWarning)
        tracemalloc.start()
        try:
            for epoch in range(EPOCHS):
                one_epoch(epoch)
                if epoch + 1 in (EPOCHS // 2, EPOCHS):
                    gc.collect()
                    held.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    return held[1] - held[0]


def test_hundreds_of_updates_of_a_monitor_leak_nothing():
    predictor = Fleeting()
    monitor = Monitor(predictor, stopping=rules(), log_to=lambda values, step: None)
    assert growth(lambda epoch: monitor.update(WEIGHTS, epoch)) < BYTES
    assert predictor.calls == EPOCHS
    assert not monitor.should_stop


def test_hundreds_of_epochs_of_the_keras_callback_leak_nothing():
    # What `fit` calls, without its training: History alone would keep more than is allowed here.
    predictor, model = Fleeting(), keras_runs.network()
    ours = AccuracyFromWeights(predictor, stopping=rules())
    stopper = keras.callbacks.EarlyStopping(KEY, mode="max", patience=10**6)
    callbacks = keras.callbacks.CallbackList([ours, stopper], model=model)
    callbacks.on_train_begin()

    def one_epoch(epoch: int) -> None:
        callbacks.on_epoch_begin(epoch)
        callbacks.on_epoch_end(epoch, {"loss": 1.0})

    assert growth(one_epoch) < BYTES
    assert predictor.calls == EPOCHS
    assert stopper.best > 0.89


def test_what_is_held_at_the_end_would_show_a_leak():
    kept = []
    assert growth(lambda epoch: kept.append(bytes(200))) > BYTES


def test_thirty_two_callbacks_in_threads_say_what_each_says_alone():
    models = [loop.network(seed) for seed in range(32)]
    expected = [raw_accuracy(model) for model in models]
    predictor, filters = ReadsWeights(), list(warnings.filters)
    seen: list[list[float]] = [[] for _ in models]
    start = threading.Barrier(len(models))

    def watch(at: int) -> None:
        monitor = Monitor(predictor, stopping=Patience(99))
        start.wait(timeout=60)
        seen[at] = [monitor.update(models[at])[KEY] for _ in range(10)]

    threads = [threading.Thread(target=watch, args=(at,)) for at in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert seen == [[value] * 10 for value in expected]
    assert warnings.filters == filters


WEIGHTS = {"0.weight": np.ones((4, 3), np.float32), "1.weight": np.ones((2, 4), np.float32)}


def in_the_child(monitor: Monitor, answers) -> None:
    answers.put(monitor.update(WEIGHTS)[KEY])


class Waiting(ReadsWeights):
    """Says that it is asked, and then takes its time."""

    def __init__(self) -> None:
        self.asked, self.done = threading.Event(), threading.Event()

    def judge(self, rows):
        self.asked.set()
        self.done.wait(timeout=60)
        return super().judge(rows)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_while_another_thread_estimates_does_not_wait_for_it():
    waiting = Waiting()
    other = threading.Thread(target=lambda: Monitor(waiting).update(WEIGHTS))
    other.start()
    assert waiting.asked.wait(timeout=60)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=in_the_child, args=(Monitor(ReadsWeights()), answers))
    child.start()
    try:
        assert answers.get(timeout=60) == pytest.approx(raw_accuracy(WEIGHTS))
    finally:
        waiting.done.set()
        other.join()
        child.join(timeout=10)
        child.kill()
