"""Trains with Lightning in two processes; each writes down what it saw. Run by a test."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from accuracy_from_weights.callbacks import cadence
from accuracy_from_weights.callbacks.lightning import AccuracyFromWeights
from accuracy_from_weights.stopping import Patience
from tests.callbacks.scripted import Scripted, digits

KEY = "accuracy_from_weights"


class Network(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        self.epochs = 0

    def training_step(self, batch, index):
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, index):
        return None

    def on_train_epoch_end(self):
        self.epochs += 1

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


def fit(callbacks, folder, epochs=6, validate=True):
    x, y = digits(128)
    data = DataLoader(TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), batch_size=32)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    network = Network()
    trainer.fit(network, data, *([data] if validate else []))
    return trainer, network


def main(folder: Path, predictor_file: Path) -> None:
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    seen = {}
    # The predictor is made for other networks than this one.
    warnings.simplefilter("ignore")

    trainer, network = fit([AccuracyFromWeights(predictor_file)], folder / "real", epochs=2)
    seen["real"] = [float(trainer.callback_metrics[KEY]), float(network.net[1].weight.sum())]
    *_, network = fit([ModelCheckpoint(folder / "plain")], folder, epochs=2)
    seen["without"] = float(network.net[1].weight.sum())

    early = EarlyStopping(KEY, mode="max", patience=2)
    best = ModelCheckpoint(folder / "best", monitor=KEY, mode="max", filename="{epoch}")
    ours = AccuracyFromWeights(Scripted([0.3, 0.6, 0.5, 0.4]))
    *_, network = fit([early, best, ours], folder)
    seen["early stopping"] = [network.epochs, Path(best.best_model_path).name]

    # One process alone wants to stop; both have to, or the other would wait for ever.
    ours = AccuracyFromWeights(Scripted([0.9, [0.95, 0.1][rank], 0.97]), stopping=Patience(1))
    seen["rule"] = [fit([ours], folder, validate=False)[1].epochs, bool(ours.decision.stop)]

    # In one process alone the estimate fails.
    fails = AccuracyFromWeights(Scripted([0.3, [0.4, OSError("x")][rank], 0.5]))
    early = EarlyStopping(KEY, mode="max", patience=2)
    seen["failure"] = fit([fails, early], folder, epochs=3)[1].epochs

    # One process alone has time left for estimates: both make them, or neither would go on.
    cadence.FREE_SECONDS = [float("inf"), -1.0][rank]
    predictor = Scripted([0.3, 0.4])
    fit([AccuracyFromWeights(predictor)], folder, epochs=4, validate=False)
    seen["estimates"] = predictor.calls

    (folder / f"rank{rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
