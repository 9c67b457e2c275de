"""The estimate of each epoch in MLflow's runs: by autologging, by its callback, by a Monitor."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
import pytorch_lightning

from accuracy_from_weights.callbacks import keras, lightning
from accuracy_from_weights.callbacks.torch import Monitor
from tests.callbacks.keras_runs import fit as fit_keras
from tests.callbacks.keras_runs import network as keras_network
from tests.callbacks.lightning_runs import QUIET
from tests.callbacks.lightning_runs import fit as fit_lightning
from tests.callbacks.loop import network, train
from tests.callbacks.scripted import Scripted

KEY = "accuracy_from_weights"
ANSWERS = [0.25, 0.5, 0.75]


@pytest.fixture(autouse=True)
def experiment(store):
    mlflow.set_experiment("logging")
    yield
    mlflow.autolog(disable=True)
    while mlflow.active_run():
        mlflow.end_run()


def curve(run_id: str, key: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in mlflow.MlflowClient().get_metric_history(run_id, key)]


def test_a_monitor_logs_to_the_active_run():
    monitor = Monitor(Scripted(ANSWERS), log_to=mlflow.log_metrics)
    model = network()
    with mlflow.start_run() as run:
        train(model, 3, lambda epoch: monitor.update(model, epoch) is None)
    assert curve(run.info.run_id, KEY) == list(enumerate(ANSWERS))
    assert curve(run.info.run_id, f"{KEY}_in_family") == [(0, 1.0), (1, 1.0), (2, 1.0)]


@pytest.mark.filterwarnings(*QUIET)
def test_autologging_of_lightning_sees_the_estimate_of_every_epoch():
    # MLflow knows Lightning under this name only.
    mlflow.pytorch.autolog(log_models=False)
    with mlflow.start_run() as run:
        fit_lightning(pytorch_lightning, [lightning.AccuracyFromWeights(Scripted(ANSWERS))], 3)
    values = [value for _, value in curve(run.info.run_id, KEY)]
    assert values == pytest.approx(ANSWERS)


def test_autologging_of_keras_sees_the_estimate_of_every_epoch():
    mlflow.keras.autolog(log_models=False)
    with mlflow.start_run() as run:
        fit_keras(keras_network(), [keras.AccuracyFromWeights(Scripted(ANSWERS))], 3)
    assert curve(run.info.run_id, KEY) == list(enumerate(ANSWERS))


def test_the_callback_of_mlflow_stands_after_ours():
    with mlflow.start_run() as run:
        ours = keras.AccuracyFromWeights(Scripted(ANSWERS))
        fit_keras(keras_network(), [ours, mlflow.keras.MlflowCallback()], 3)
    assert curve(run.info.run_id, f"{KEY}_low") == [
        (epoch, pytest.approx(answer - 0.1)) for epoch, answer in enumerate(ANSWERS)
    ]


def test_the_chart_is_one_picture_among_the_artifacts_of_the_run(tmp_path):
    ours = keras.AccuracyFromWeights(
        Scripted(ANSWERS), chart_to=lambda figure, step: mlflow.log_figure(figure, "accuracy.png")
    )
    with mlflow.start_run() as run:
        fit_keras(keras_network(), [ours], 3)
    client = mlflow.MlflowClient()
    pictures = [
        artifact.path
        for artifact in client.list_artifacts(run.info.run_id)
        if artifact.path.endswith(".png")
    ]
    assert pictures == ["accuracy.png"]
    picture = client.download_artifacts(run.info.run_id, "accuracy.png", str(tmp_path))
    assert Path(picture).read_bytes().startswith(b"\x89PNG")
