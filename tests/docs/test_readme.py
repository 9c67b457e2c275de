"""The README's programs run, word for word but for the number of epochs."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.errors import AccuracyFromWeightsWarning

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def run(mark: str, **names: object) -> dict:
    (block,) = [block for block in BLOCKS if mark in block]
    with warnings.catch_warnings():
        # Whether such tiny networks are inside the family is for the predictor that ships to say.
        warnings.simplefilter("ignore", AccuracyFromWeightsWarning)
        exec(block.replace("100", "3"), names)
    return names


def pytorch_network():
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))


def test_every_program_is_run_here() -> None:
    marks = ("callbacks.keras", "callbacks.lightning", "callbacks.torch", "load_predictor")
    assert sorted(BLOCKS) == sorted(b for mark in marks for b in BLOCKS if mark in b)


def test_keras() -> None:
    import keras

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = np.random.default_rng(0).random((60, 8), np.float32), np.arange(60) % 3
    run("callbacks.keras", model=model, x=x, y=y)
    assert len(model.history.history["accuracy_from_weights"]) == 3


def test_lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from lightning.pytorch import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = pytorch_network()

        def training_step(self, batch, _):
            x, y = batch
            return torch.nn.functional.cross_entropy(self.network(x), y)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    monkeypatch.chdir(tmp_path)  # the Trainer writes its logs where it is run
    data = torch.utils.data.TensorDataset(torch.ones(4, 8), torch.zeros(4, dtype=torch.long))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    ran = run("callbacks.lightning", Trainer=Trainer, module=Module(), loader=loader)
    assert 0 <= float(ran["stop"].best_score) <= 1


def test_a_loop_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    trained = []
    x, y = np.random.default_rng(0).random((60, 8), np.float32), np.arange(60) % 3
    run("callbacks.torch", model=pytorch_network(), train_one_epoch=trained.append, x=x, y=y)
    assert len(trained) == 3
    assert capsys.readouterr().out.count("accuracy_from_weights") >= 3


def test_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    save_file(pytorch_network().state_dict(), "model.safetensors")
    run("load_predictor")
    assert re.match(r"0\.\d{3} \(90% interval 0\.\d{3} to \d\.\d{3}\)", capsys.readouterr().out)
