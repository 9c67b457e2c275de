"""Searches on new data: recorded, described and replayed, at tiny size; and other fits."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.features.feature_sets import FEATURE_SETS
from accuracy_from_weights.zoo.table import ZooTable, concatenate
from benchmarks import goals
from benchmarks.unseen import __main__ as program
from benchmarks.unseen import data, fits, runs, searching, training
from tests.benchmarks.test_task_curve import table as made_up_zoo

SAMPLE, REPORTED = FEATURE_SETS[-1], searching.REPORTED


def _few(datasets: tuple[str, ...], n: int) -> list[runs.Run]:
    chosen = [
        run for run in runs.searches() if run.data in datasets and int(run.name.split("-")[-1]) < n
    ]
    return [dataclasses.replace(run, epochs=5, share=0.03) for run in chosen]


def test_runs_of_a_search_differ_in_what_is_chosen_and_in_nothing_else() -> None:
    plan = runs.searches()
    assert len({run.name for run in plan}) == len(plan)
    for name in runs.SEARCHES:
        of_search = [run for run in plan if run.data == name]
        assert len(of_search) >= searching.SEARCHED
        assert len({(run.configuration, run.optimizer) for run in of_search}) == len(of_search)
        assert len({(run.regime, run.share, run.noise) for run in of_search}) == 1
    one, other = _few(("unicode_names",), 2)
    whole = data.load("unicode_names", None)
    first, second = runs.of_run(one, whole), runs.of_run(other, whole)
    assert np.array_equal(first.x_train, second.x_train)
    assert np.array_equal(first.y_train, second.y_train)
    n = len(first.y_train) + len(first.y_validation)
    assert len(first.y_validation) == round(0.2 * n)
    wrong = np.concatenate([first.y_validation, first.y_train]) != whole.y_train[:n]
    assert wrong.mean() == pytest.approx(one.noise, abs=0.01)


def test_searches_are_recorded_described_and_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _few(("photographs", "unicode_names"), 4)
    monkeypatch.setattr(program, "searches", lambda: plan)
    folder, path, found = tmp_path / "runs", tmp_path / "searches.npz", tmp_path / "search.json"
    program.main(["train", str(folder), "--searches"])
    program.main(["describe", str(folder), str(path), "--searches"])
    table = ZooTable.load(path)
    assert len(table) == len(plan) * 5
    assert np.isfinite(table.inputs(SAMPLE)).all()
    validated = table.hyperparameters[training.VALIDATED]
    assert ((validated >= 0) & (validated <= 1)).all()

    schedules = {"hasty": (1, 2, 3, 4), "patient": (2, 4)}
    monkeypatch.setattr(searching, "SCHEDULES", schedules)
    program.main(["search", str(path), "--json", str(found)])
    results = json.loads(found.read_text())
    assert [one["data"] for one in results["searches"]] == ["photographs", "unicode_names"]
    # Of four runs, two end after one epoch and one after two.
    hasty = results["schedules"]["hasty"]
    assert hasty["saved"] == pytest.approx(1 - (4 + 2 + 1 + 1 + 1) / 20)
    ends = table.accuracy[table.steps == 5].reshape(2, 4)
    for of in hasty["lost"].values():
        for lost, accuracies in zip(of["each"], ends, strict=True):
            assert 0 <= lost <= 100 * np.ptp(accuracies) + 1e-3
    title = f"{SAMPLE}, {REPORTED}"
    assert {title, searching.VALIDATION, searching.CHANCE} <= set(hasty["lost"])
    assert title in results["choices"]
    blocks = searching.blocks(results)
    assert f"| `{title}` |" in blocks["search lost"]
    assert searching.numbers(results)["search saved, hasty"] == "55%"
    assert len(list(goals.of_search(results))) == 3


def test_a_signal_that_knows_the_order_loses_nothing_and_chance_does() -> None:
    n, epochs = 27, 10
    ends = np.linspace(0.2, 0.9, n)
    accuracy = (ends[:, None] * np.linspace(0.5, 1, epochs)).ravel()
    table = ZooTable(
        features=np.zeros((n * epochs, 1), np.float32),
        feature_names=("a",),
        paper_statistics=None,
        runs=np.repeat([f"run {k}" for k in range(n)], epochs),
        datasets=np.full(n * epochs, "one"),
        steps=np.tile(np.arange(1.0, epochs + 1), n),
        accuracy=accuracy,
        loss=accuracy,
        train_accuracy=1 - accuracy,
        train_loss=accuracy,
        log_accuracy=accuracy,
        hyperparameters={
            training.VALIDATED: accuracy,
            "regime": np.full(n * epochs, "good"),
            "n_train": np.full(n * epochs, 100.0),
            "label_noise": np.zeros(n * epochs),
        },
        fingerprint="",
    )
    results = searching.replay(table, [], n_draws=50)
    hasty = results["schedules"]["hasty"]
    lost = {name: of["mean"] for name, of in hasty["lost"].items()}
    assert hasty["saved"] == pytest.approx(1 - (24 + 12 + 6 + 3 + 6) / 240)
    assert lost[searching.TRUTH] == lost[searching.VALIDATION] == 0
    # Evaluated training accuracy orders the runs the other way round here.
    assert lost[f"training accuracy, {searching.EVALUATED}"] > 50
    assert 5 < lost[searching.CHANCE] < 65


def test_fits_are_scored_with_and_without_real_data() -> None:
    zoo = concatenate([made_up_zoo(48, "universe", 0), made_up_zoo(24, "known", 1)])
    unseen = made_up_zoo(30, "new", 2)
    shipped = {"weights": program.load_predictor(features="weights")}
    told: list[str] = []
    found = fits.fits(zoo, unseen, shipped, told.append)
    ours = [one for one in found if one["columns"] == "weights"]
    assert [one["fitted"] for one in ours] == [fits.GENERATED, fits.EVERYTHING]
    assert [one["networks"] for one in ours] == [48, 72], "the last checkpoint of each run"
    assert all(0 < one["low"] <= one["error"] <= one["high"] < 20 for one in ours)
    assert len(told) == len(found)
    assert set(fits.PAPER_NAMES) < set(FEATURE_NAMES)
    assert len(fits.PAPER_NAMES) == 56
    assert "| `weights` |" in fits.as_markdown(found)
