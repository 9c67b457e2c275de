"""Whatever fails inside a callback, training ends bit for bit as without it, with one warning."""

from __future__ import annotations

import lightning.pytorch as root
import pytest
import torch

from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.stopping import Patience
from tests.callbacks import keras_runs, loop
from tests.callbacks.faults import ALL_FEATURES, check_every_fault
from tests.callbacks.lightning_runs import QUIET, fit
from tests.callbacks.scripted import random_states
from tests.callbacks.test_lightning_evidence import measuring


def test_monitor():
    tracked = []

    def make() -> Monitor:
        return Monitor(
            **ALL_FEATURES,
            stopping=Patience(99),
            input_shape=(1, 8, 8),
            planned_epochs=2,
            validate=lambda model: 0.5,
            log_to=lambda values, step: tracked.append(values),
        )

    def train(monitor: Monitor | None):
        model = loop.network(seed=4)

        def after_epoch(epoch: int) -> None:
            if monitor is not None:
                monitor.update(model, epoch, log={"accuracy": 0.5, "loss": 2.0})
                monitor.state_dict()

        losses = loop.train(model, 2, after_epoch)
        weights = [tensor.numpy().tobytes() for tensor in model.state_dict().values()]
        return losses, weights, random_states()

    assert {"Monitor.true_accuracy", "undisturbed", "Truths.learn"} <= check_every_fault(
        make, train
    )
    assert all(len(values) >= 4 for values in tracked)


def test_keras():
    from accuracy_from_weights.callbacks.keras import AccuracyFromWeights

    def train(callback: AccuracyFromWeights | None):
        model = keras_runs.network(seed=7)
        callbacks = [] if callback is None else [callback]
        history = keras_runs.fit(model, callbacks, 2, validation_data=keras_runs.DATA)
        return keras_runs.outcome(model, history)

    reached = check_every_fault(
        lambda: AccuracyFromWeights(**ALL_FEATURES, stopping=Patience(99)), train
    )
    assert {"AccuracyFromWeights._review", "AccuracyFromWeights.network", "caller"} <= reached


@pytest.mark.filterwarnings(*QUIET)
def test_lightning(tmp_path):
    from accuracy_from_weights.callbacks.lightning import AccuracyFromWeights

    def train(callback: AccuracyFromWeights | None):
        trainer, network = fit(
            root,
            [] if callback is None else [callback],
            2,
            validate=True,
            network=measuring(),
        )
        trainer.save_checkpoint(tmp_path / "run.ckpt")
        weights = [tensor.numpy().tobytes() for tensor in network.state_dict().values()]
        modes = [module.training for module in network.modules()]
        return weights, modes, float(trainer.callback_metrics["loss"]), random_states()

    reached = check_every_fault(
        lambda: AccuracyFromWeights(**ALL_FEATURES, stopping=Patience(99)), train
    )
    assert {
        "AccuracyFromWeights._hand_over",
        "input_shape_of",
        "AccuracyFromWeights.network",
    } <= reached
    assert torch.load(tmp_path / "run.ckpt", weights_only=True)["epoch"] == 2
