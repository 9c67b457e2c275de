"""The estimate in the files of DVCLive."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

# Read when DVC is imported: no word of the tests to anybody.
os.environ["DVC_NO_ANALYTICS"] = "true"
os.environ["DVC_STUDIO_OFFLINE"] = "true"

import lightning.pytorch
import pytest
from dvclive import Live
from dvclive.lightning import DVCLiveLogger

from accuracy_from_weights.callbacks.lightning import AccuracyFromWeights
from accuracy_from_weights.callbacks.torch import Monitor
from tests.callbacks.lightning_runs import QUIET, fit
from tests.callbacks.loop import network, train
from tests.callbacks.scripted import Scripted

KEY = "accuracy_from_weights"
ANSWERS = [0.25, 0.5, 0.75]
ALONE = {"save_dvc_exp": False, "dvcyaml": None}


@pytest.fixture(autouse=True)
def away_from_the_repository(tmp_path, monkeypatch):
    """DVCLive makes a repository of DVC in the one of git that it finds itself in."""
    monkeypatch.chdir(tmp_path)


def curve(folder: Path, name: str) -> list[float]:
    (path,) = folder.rglob(f"{name}.tsv")
    with path.open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file, delimiter="\t")]


def test_a_monitor_logs_each_epoch(tmp_path):
    with Live(str(tmp_path), **ALONE) as live:

        def log(values, step):
            live.step = step
            for name, value in values.items():
                live.log_metric(name, value)

        monitor = Monitor(Scripted(ANSWERS), log_to=log)
        model = network()
        train(model, 3, lambda epoch: monitor.update(model, epoch) is None)
    assert curve(tmp_path, KEY) == ANSWERS
    assert curve(tmp_path, f"{KEY}_in_family") == [1.0, 1.0, 1.0]
    assert json.loads((tmp_path / "metrics.json").read_text())[KEY] == 0.75


@pytest.mark.filterwarnings(*QUIET)
def test_its_lightning_logger_gets_the_estimate(tmp_path):
    logger = DVCLiveLogger(dir=str(tmp_path), **ALONE)
    fit(lightning.pytorch, [AccuracyFromWeights(Scripted(ANSWERS))], 3, logger=logger)
    assert curve(tmp_path, KEY) == pytest.approx(ANSWERS)
