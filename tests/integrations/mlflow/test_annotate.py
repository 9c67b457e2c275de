"""``annotate mlflow`` on a real store: what it writes, and that it touches nothing else."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import keras
import mlflow
import numpy as np
import pytest
import torch

from accuracy_from_weights import load_predictor
from accuracy_from_weights.cli import main

KEY = "accuracy_from_weights"
KEYS = [KEY, f"{KEY}_low", f"{KEY}_high", f"{KEY}_in_family"]


class Pickled(torch.nn.Module):
    """A model that MLflow can only keep as a pickle of this class."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.nn.Linear(4, 2)


def torch_model(scale: float = 1.0) -> torch.nn.Module:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(scale)
    return model


def keras_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    return keras.Sequential([keras.Input((64,)), dense(8, activation="relu"), dense(10)])


def log_torch(model: torch.nn.Module, name: str, step: int = 0) -> None:
    mlflow.pytorch.log_model(
        model,
        name=name,
        step=step,
        input_example=np.zeros((2, 64), np.float32),
        pip_requirements=["torch"],
    )


def log_keras() -> None:
    mlflow.keras.log_model(keras_model(), name="model", pip_requirements=["keras"])


@pytest.fixture(scope="module")
def experiment(store) -> str:
    """Runs of every kind: two checkpoints, Keras, a pickle, no model, one lost, one deleted."""
    mlflow.set_experiment("mine")
    with mlflow.start_run(run_name="torch"):
        mlflow.log_metric("loss", 0.5, step=7)
        log_torch(torch_model(), "early", step=3)
        log_torch(torch_model(3.0), "late", step=9)
    with mlflow.start_run(run_name="keras"):
        log_keras()
    with mlflow.start_run(run_name="pickled"):
        mlflow.pytorch.log_model(
            Pickled(), name="model", serialization_format="pickle", pip_requirements=["torch"]
        )
    with mlflow.start_run(run_name="old"):  # as MLflow 2 kept models
        folder = Path("old-model")
        folder.mkdir()
        torch.save(torch_model().state_dict(), folder / "weights.pth")
        (folder / "MLmodel").write_text("flavors: {}\n")
        mlflow.log_artifacts(str(folder), "model")
    with mlflow.start_run(run_name="state dict"):
        mlflow.pytorch.log_state_dict(torch_model().state_dict(), "kept")
    with mlflow.start_run(run_name="files"):
        for epoch in (2, 10):
            torch.save(torch_model(epoch).state_dict(), f"epoch={epoch}.pt")
            mlflow.log_artifact(f"epoch={epoch}.pt", "checkpoints")
    with mlflow.start_run(run_name="no model"):
        mlflow.log_param("rate", 0.1)
    with mlflow.start_run(run_name="lost"):
        log_keras()
    (lost,) = mlflow.search_logged_models(
        filter_string=f"source_run_id = '{mlflow.last_active_run().info.run_id}'",
        output_format="list",
    )
    shutil.rmtree(lost.artifact_location.removeprefix("file://"))
    with mlflow.start_run(run_name="deleted") as deleted:
        log_keras()
    mlflow.delete_run(deleted.info.run_id)
    with mlflow.start_run(run_name="elsewhere", experiment_id="0"):
        log_keras()
    return "mine"


def tables(store: str) -> dict[str, set[tuple]]:
    """Every row of every table of the store."""
    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        query = "select name from sqlite_master where type = 'table'"
        names = [name for (name,) in database.execute(query)]
        return {name: set(map(repr, database.execute(f'select * from "{name}"'))) for name in names}


def files(store: str) -> dict[str, bytes]:
    folder = Path(store.removeprefix("sqlite:///")).parent
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".db"
    }


@pytest.fixture(scope="module")
def first(store, experiment, predictor_file):
    """The first call: its exit code, output and errors, and the store before and after it."""
    before = tables(store), files(store)
    result = call("--experiment", experiment, "--predictor", predictor_file, "--json")
    return *result, before, (tables(store), files(store))


def call(*arguments: object) -> tuple[int, str, str]:
    from click.testing import CliRunner

    done = CliRunner().invoke(main, ["annotate", "mlflow", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def run_named(name: str):
    (run,) = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"attributes.run_name = '{name}'",
        output_format="list",
    )
    return run


def test_every_model_that_can_be_read_is_written_to_its_run(first, predictor_file):
    code, out, err, _, _ = first
    rows = {(row["run_name"], row["model"]): row for row in json.loads(out)}
    assert rows.keys() == {
        ("torch", "early"),
        ("torch", "late"),
        ("keras", "model"),
        ("pickled", "model"),
        ("old", "model"),
        ("lost", "model"),
        ("state dict", "kept/state_dict.pth"),
        ("files", "checkpoints/epoch=2.pt"),
        ("files", "checkpoints/epoch=10.pt"),
    }
    predictor = load_predictor(predictor_file)
    for name, model, step, network in (
        ("torch", "early", 3, torch_model()),
        ("torch", "late", 9, torch_model(3.0)),
        ("keras", "model", 0, keras_model()),
        ("old", "model", 0, torch_model()),
        ("state dict", "kept/state_dict.pth", 0, torch_model()),
        ("files", "checkpoints/epoch=2.pt", 2, torch_model(2.0)),
        ("files", "checkpoints/epoch=10.pt", 10, torch_model(10.0)),
    ):
        row = rows[name, model]
        (accuracy,) = predictor.predict([network])
        assert row["accuracy"] == pytest.approx(accuracy, abs=1e-6)
        assert row["written"]
        run = run_named(name)
        for key in KEYS:
            history = mlflow.MlflowClient().get_metric_history(run.info.run_id, key)
            assert step in [entry.step for entry in history]
        at_step = [m for m in history if m.step == step]
        assert len(at_step) == 1
    assert run_named("torch").data.metrics[KEY] == rows["torch", "late"]["accuracy"]
    assert KEY not in run_named("elsewhere").data.metrics, "it is of another experiment"
    assert "7 of 9 models written" in err
    assert code == 4


def test_models_that_cannot_be_read_are_one_sentence_each(first):
    _, out, err, _, _ = first
    rows = {row["run_name"]: row for row in json.loads(out) if "error" in row}
    assert rows.keys() == {"pickled", "lost"}
    assert "save the model's state_dict() instead" in rows["pickled"]["error"]
    errors = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 2
    assert "Traceback" not in err
    assert KEY not in run_named("pickled").data.metrics


def test_nothing_else_is_touched(first):
    *_, (tables_before, files_before), (tables_after, files_after) = first
    assert files_before == files_after
    changed = {name for name in tables_after if tables_after[name] != tables_before[name]}
    assert changed == {"metrics", "latest_metrics", "logged_model_metrics"}
    for name in changed:
        assert tables_before[name] <= tables_after[name]
        assert all(KEY in row for row in tables_after[name] - tables_before[name])


def test_a_second_call_changes_nothing(first, store, experiment, predictor_file):
    after = first[-1]
    code, out, _ = call("--experiment", experiment, "--predictor", predictor_file, "--json")
    assert (tables(store), files(store)) == after
    assert not any(row.get("written") for row in json.loads(out))
    assert code == 4


def test_another_predictor_overwrites_and_the_table_says_so(first, store, experiment, tmp_path):
    from accuracy_from_weights import AccuracyPredictor

    rng = np.random.default_rng(1)
    networks = [{"0.weight": s * rng.normal(size=(8, 64)), "2.weight": rng.normal(size=(10, 8))}
                for s in np.linspace(0.1, 1, 20)]  # fmt: skip
    path = tmp_path / "other.predictor"
    AccuracyPredictor(n_folds=2).fit(networks, np.linspace(0.1, 0.3, 20)).save(path)
    code, out, _ = call("--experiment", experiment, "--predictor", path, "--tracking-uri", store)
    header, *lines = out.splitlines()
    assert header.split()[:3] == ["run", "model", "step"]
    assert [line.split()[-1] for line in lines] == ["written"] * 7
    assert code == 4
    assert run_named("torch").data.metrics[KEY] < 0.35


def test_an_unknown_experiment_is_one_sentence(first):
    code, out, err = call("--experiment", "yours")
    assert (code, out) == (1, "")
    assert "There is no experiment 'yours'" in err
    assert "'mine'" in err
