"""Retraining on checkpoints of one's own past runs, listed in a CSV file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits

from accuracy_from_weights.errors import AccuracyFromWeightsWarning, UnreadableFileError, ZooError
from accuracy_from_weights.features.description import describe
from accuracy_from_weights.weights import read_weights
from accuracy_from_weights.zoo.checkpoints import read_checkpoints
from tests.cli.conftest import save_network

STEPS = (1, 3)


def state_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def write_runs(folder: Path, n_runs: int = 12) -> Path:
    """Checkpoints in three formats, two a run, whose accuracies follow from their weights."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    lines = []
    for run in range(n_runs):
        rate = rng.uniform()
        for step in STEPS:
            strength = rate * (1 - np.exp(-step))
            path = save_network(folder / f"{run}-{step}.npz", strength, seed=run)
            if run % 3 == 1:
                path = folder / f"{run}-{step}.pt"
                state = state_of(folder / f"{run}-{step}.npz")
                torch.save({name: torch.from_numpy(value) for name, value in state.items()}, path)
            if run % 3 == 2:
                path = folder / f"{run}-{step}.safetensors"
                save_file(state_of(folder / f"{run}-{step}.npz"), path)
            lines.append(
                {
                    "file": path.name,
                    "run": f"run {run}",
                    "step": step,
                    "accuracy": round(0.1 + 0.8 * strength, 4),
                    "rate": round(rate, 3),
                    "optimizer": ("sgd", "adam")[run % 2],
                }
            )
    return write_csv(folder / "runs.csv", lines)


def write_csv(path: Path, lines: list[dict]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


@pytest.fixture(scope="module")
def runs_csv(tmp_path_factory) -> Path:
    return write_runs(tmp_path_factory.mktemp("past") / "runs")


def test_every_file_is_described_and_every_column_kept(runs_csv):
    table = read_checkpoints(runs_csv)
    with runs_csv.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert table.runs.tolist() == [line["run"] for line in lines]
    assert table.accuracy.tolist() == [float(line["accuracy"]) for line in lines]
    assert table.steps.tolist() == list(STEPS) * 12
    assert table.hyperparameters["optimizer"].tolist() == [line["optimizer"] for line in lines]
    assert table.hyperparameters["rate"].tolist() == [float(line["rate"]) for line in lines]
    assert set(table.datasets) == {"runs"}
    for row, line in enumerate(lines):
        with threadpool_limits(1):  # as many threads add in another order
            (alone,) = describe(read_weights(runs_csv.parent / line["file"]))
        np.testing.assert_array_equal(table.features[row], alone)
    assert table.paper_statistics.shape == (24, 56)


def test_processes_do_not_change_the_table(runs_csv):
    done = []
    with threadpool_limits(2):  # one thread belongs to the processes
        one = read_checkpoints(runs_csv, progress=lambda n, total: done.append((n, total)))
    two = read_checkpoints(runs_csv, n_jobs=2)
    assert done[-1] == (24, 24)
    assert one.fingerprint == two.fingerprint
    np.testing.assert_array_equal(one.features, two.features)


def test_retrain_takes_the_csv_file_and_estimate_its_predictor(cli, runs_csv, tmp_path):
    output = tmp_path / "mine.predictor"
    result = cli("retrain", runs_csv, "--output", output, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["n_runs"] == 12
    weak, strong = (
        save_network(tmp_path / f"{strength}.npz", strength, seed=5) for strength in (0.1, 0.8)
    )
    rows = json.loads(cli("estimate", weak, strong, "--predictor", output, "--json").out)
    assert rows[0]["accuracy"] < rows[1]["accuracy"]


def test_the_described_table_is_the_same_zoo(cli, runs_csv, tmp_path):
    table = tmp_path / "runs.npz"
    assert cli("zoo", "describe", runs_csv, "--output", table).code == 0
    info = json.loads(cli("zoo", "info", table, "--json").out)
    assert (info[0]["networks"], info[0]["checkpoints"]) == (12, 24)


def test_files_that_cannot_be_read_are_left_out_with_a_warning(tmp_path):
    path = write_runs(tmp_path / "runs", 4)
    (path.parent / "0-1.npz").write_bytes(b"no network")
    with pytest.warns(AccuracyFromWeightsWarning, match="1 of 8 files") as caught:
        table = read_checkpoints(path)
    assert "0-1.npz" in str(caught[0].message)
    assert len(table) == 7


def test_lines_without_an_accuracy_are_left_out(tmp_path):
    path = write_runs(tmp_path / "runs", 2)
    text = path.read_text().splitlines()
    fields = text[1].split(",")
    fields[3] = ""
    path.write_text("\n".join([text[0], ",".join(fields), *text[2:]]))
    assert len(read_checkpoints(path)) == 3


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        (
            "file,accuracy\na.npz,0.5\n",
            ZooError,
            "lacks the columns run. It needs file, run",
        ),
        ("", ZooError, "and has none"),
        ("file,run,accuracy\na.npz,1,91\n", ZooError, "Divide percentages by 100"),
        ("file,run,accuracy\na.npz,1,nan\n", ZooError, "instead of lying in"),
        ("file,run,accuracy\na.npz,1,good\n", ZooError, "column accuracy .* other than numbers"),
        ("file,run,accuracy\na.npz,1\n", ZooError, "Line 2 .* does not have 3 fields"),
        ("file,run,accuracy\n,1,0.5\n", ZooError, "names no file or no run"),
        ("file,run,accuracy\na.npz,1,\n", ZooError, "gives no accuracy"),
        ("file,run,accuracy\na.npz,1,0.5\n", ZooError, "None of the files .* can be read"),
        (None, UnreadableFileError, "No such file"),
    ],
)
def test_bad_tables_are_one_sentence(tmp_path, text, error, sentence):
    path = tmp_path / "runs.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(error, match=sentence):
        read_checkpoints(path)
