"""Trains with transformers in two processes; each writes down what it saw. Run by a test."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import torch
from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

from accuracy_from_weights.callbacks import cadence
from accuracy_from_weights.callbacks.huggingface import AccuracyFromWeights
from accuracy_from_weights.stopping import Patience
from tests.callbacks.scripted import Scripted, digits, seed_all

KEY = "accuracy_from_weights"


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.nn.Linear(64, 8)
        self.norm = torch.nn.BatchNorm1d(8)  # whose statistics each process has of its own
        self.last = torch.nn.Linear(8, 10)

    def forward(self, x, labels=None):
        logits = self.last(torch.relu(self.norm(self.hidden(x))))
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def train(folder: Path, callbacks: list, epochs: int, **arguments) -> Trainer:
    seed_all(0)
    x, y = digits(128)
    data = [
        {"x": torch.from_numpy(image.ravel()), "labels": int(label)}
        for image, label in zip(x, y, strict=True)
    ]
    settings = TrainingArguments(
        str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=16,
        use_cpu=True,
        ddp_backend="gloo",
        report_to="none",
        disable_tqdm=True,
        **{"save_strategy": "no", **arguments},
    )
    trainer = Trainer(
        Network(), settings, train_dataset=data, eval_dataset=data[:32], callbacks=callbacks
    )
    trainer.train()
    return trainer


def main(folder: Path, predictor_file: Path) -> None:
    rank = int(os.environ["RANK"])
    # The predictor is made for other networks than this one.
    warnings.simplefilter("ignore")

    trainer = train(folder / "real", [AccuracyFromWeights(predictor_file)], 2)
    seen = {"processes": torch.distributed.get_world_size()}
    seen["real"] = [entry[KEY] for entry in trainer.state.log_history if KEY in entry]
    seen["weights"] = float(trainer.model.last.weight.sum())
    seen["without"] = float(train(folder / "plain", [], 2).model.last.weight.sum())

    trainer = train(
        folder / "best",
        [AccuracyFromWeights(Scripted([0.3, 0.7, 0.6, 0.5, 0.9])), EarlyStoppingCallback(2)],
        8,
        eval_strategy="epoch",
        save_strategy="epoch",
        metric_for_best_model=KEY,
        load_best_model_at_end=True,
    )
    best = Path(trainer.state.best_model_checkpoint).name
    seen["early stopping"] = [trainer.state.epoch, trainer.state.best_metric, best]

    # The processes see different things; both have to stop, or one would wait for the other.
    ours = AccuracyFromWeights(
        Scripted([0.5] if rank == 0 else [0.1, 0.2, 0.3, 0.4]), stopping=Patience(2)
    )
    seen["rule"] = train(folder / "rule", [ours], 8).state.epoch

    # The first process has no time left for estimates between the first epoch and the last.
    cadence.FREE_SECONDS = [-1.0, float("inf")][rank]
    predictor = Scripted([0.3, 0.4])
    train(folder / "rare", [AccuracyFromWeights(predictor)], 5)
    seen["estimates"] = predictor.calls
    (folder / f"rank{rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
