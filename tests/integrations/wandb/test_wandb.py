"""The estimate in a real run of Weights & Biases, offline; what it wrote to disk is read back."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import keras
import lightning.pytorch
import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger
from wandb.proto.wandb_internal_pb2 import Record

from accuracy_from_weights.callbacks import keras as ours_for_keras
from accuracy_from_weights.callbacks import lightning as ours_for_lightning
from accuracy_from_weights.callbacks.torch import Monitor
from tests.callbacks.keras_runs import fit
from tests.callbacks.keras_runs import network as keras_network
from tests.callbacks.lightning_runs import QUIET
from tests.callbacks.lightning_runs import fit as fit_lightning
from tests.callbacks.loop import network, train
from tests.callbacks.scripted import Scripted

KEY = "accuracy_from_weights"
ANSWERS = [0.25, 0.5, 0.75]
BLOCK = 32768


@pytest.fixture
def run(tmp_path):
    run = wandb.init(
        project="digits",
        mode="offline",
        dir=tmp_path,
        settings=wandb.Settings(silent=True, disable_git=True, x_disable_stats=True),
    )
    yield run
    run.finish()


def records(path: Path) -> list[Record]:
    """Read a run's file: a log in blocks, as LevelDB writes it, of protocol buffers."""
    data, at, parts, found = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # what is left of a block is padding
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        if at + 7 + length > len(data):  # still being written
            break
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(Record.FromString(parts))
            parts = b""
    return found


def finished(path: Path, seconds: float = 60) -> list[Record]:
    """Read a run's file to its end, which W&B's own process may write after `finish` returned."""
    until = time.monotonic() + seconds
    while True:
        found = records(path)
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        assert time.monotonic() < until, f"{path} lacks its end"
        time.sleep(0.1)


def curve(folder: Path, key: str) -> list[float]:
    (path,) = folder.rglob("run-*.wandb")
    items = [item for record in finished(path) for item in record.history.item]
    return [
        json.loads(item.value_json)
        for item in items
        if key in (item.key, "/".join(item.nested_key))
    ]


def test_a_monitor_logs_to_the_run(run, tmp_path):
    monitor = Monitor(Scripted(ANSWERS), log_to=wandb.log)
    model = network()
    train(model, 3, lambda epoch: monitor.update(model, epoch) is None)
    run.finish()
    assert curve(tmp_path, KEY) == ANSWERS
    assert curve(tmp_path, f"{KEY}_in_family") == [1.0, 1.0, 1.0]
    assert curve(tmp_path, "_step") == [0, 1, 2]


def test_a_line_after_ours_logs_from_keras(run, tmp_path):
    # W&B's own callback for Keras needs TensorFlow, whatever Keras runs on.
    to_wandb = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: wandb.log(logs))
    ours = ours_for_keras.AccuracyFromWeights(Scripted(ANSWERS))
    fit(keras_network(), [ours, to_wandb], 3)
    run.finish()
    assert curve(tmp_path, KEY) == ANSWERS


@pytest.mark.filterwarnings(*QUIET)
def test_the_logger_of_lightning_gets_the_estimate(run, tmp_path):
    ours = ours_for_lightning.AccuracyFromWeights(Scripted(ANSWERS))
    fit_lightning(lightning.pytorch, [ours], 3, logger=WandbLogger(experiment=run))
    run.finish()
    assert curve(tmp_path, KEY) == pytest.approx(ANSWERS)


def test_the_chart_is_a_picture_beside_the_numbers_of_its_step(run, tmp_path):
    monitor = Monitor(
        Scripted(ANSWERS),
        log_to=wandb.log,
        chart_to=lambda figure, step: wandb.log({"accuracy": wandb.Image(figure)}, commit=False),
    )
    model = network()
    train(model, 3, lambda epoch: monitor.update(model, epoch) is None)
    run.finish()
    assert curve(tmp_path, KEY) == ANSWERS
    assert curve(tmp_path, "_step") == [0, 1, 2]
    pictures = [*tmp_path.rglob("media/images/accuracy_*.png")]
    assert len(pictures) == 3
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
