"""How many samples a loop trains on is found, whatever brings the batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from accuracy_from_weights.callbacks.evidence import samples_of
from accuracy_from_weights.callbacks.torch import Monitor
from tests.callbacks.scripted import Informed

DATA = TensorDataset(torch.zeros(70, 1, 4, 4), torch.zeros(70, dtype=torch.long))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(range(70))


class Batches:
    batch_size = 7

    def __len__(self) -> int:
        return 10


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        (DataLoader(DATA, batch_size=16), 70),
        (Batches(), 70),
        (DataLoader(Stream(), batch_size=16), None),
        ([1, 2, 3], None),
        (None, None),
    ],
)
def test_samples_of(loader: Any, expected: int | None) -> None:
    assert samples_of(loader) == expected


def test_a_loop_may_say_how_many(described: Any) -> None:
    monitor = Monitor(Informed("weights+probes+log"), input_shape=(1, 4, 4))
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    monitor.update(network, log={"accuracy": 0.5, "loss": 1.0, "samples": 70})
    monitor.update(network, log={"accuracy": 0.5, "loss": 1.0})
    assert [evidence["log"] for evidence in described] == [
        {"accuracy": 0.5, "loss": 1.0, "samples": 70},
        {"accuracy": 0.5, "loss": 1.0},
    ]


@pytest.mark.parametrize(("arguments", "expected"), [({}, 70), ({"validation_split": 0.3}, 49)])
def test_keras_fit_is_asked(arguments: dict[str, Any], expected: int, described: Any) -> None:
    import keras

    from accuracy_from_weights.callbacks.keras import AccuracyFromWeights

    model = keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    x, y = np.zeros((70, 4, 4, 1), np.float32), np.arange(70) % 3
    callbacks = [AccuracyFromWeights(Informed("weights+probes+log"))]
    model.fit(x, y, epochs=2, batch_size=16, verbose=0, callbacks=callbacks, **arguments)
    assert [evidence["log"]["samples"] for evidence in described] == [expected] * 2


def test_lightning_is_asked(tmp_path: Any, described: Any) -> None:
    import lightning.pytorch as pl

    from accuracy_from_weights.callbacks.lightning import AccuracyFromWeights

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))

        def training_step(self, batch: Any, number: int) -> Any:
            x, y = batch
            answers = self.network(x)
            loss = torch.nn.functional.cross_entropy(answers, y)
            right = (answers.argmax(1) == y).float().mean()
            self.log_dict({"train_acc": right, "train_loss": loss}, on_step=False, on_epoch=True)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    ours = AccuracyFromWeights(Informed("weights+probes+log"), input_shape=(1, 4, 4))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        callbacks=[ours],
        **quiet,
    )
    trainer.fit(Module(), DataLoader(DATA, batch_size=16))
    assert [evidence["log"]["samples"] for evidence in described] == [70, 70]
