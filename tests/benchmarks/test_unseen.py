"""Networks of which nothing is fitted: trained, described and judged, at tiny size."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from accuracy_from_weights.features.feature_sets import FEATURE_SETS
from accuracy_from_weights.predictor.estimate import Estimate
from accuracy_from_weights.zoo.table import ZooTable
from benchmarks.unseen import __main__ as program
from benchmarks.unseen import data, judging, not_classifiers, report, runs, texts
from benchmarks.unseen.training import models_of


def _shortened(*beginnings: str) -> list[runs.Run]:
    chosen = [run for run in runs.plan() if run.name.startswith(beginnings)]
    return [dataclasses.replace(run, epochs=2, share=0.1) for run in chosen]


def test_every_kind_of_data_has_good_runs_and_bad_ones_in_both_frameworks() -> None:
    plan = runs.plan()
    assert len({run.name for run in plan}) == len(plan)
    for kind, networks in runs.NETWORKS.items():
        of_kind = [run for run in plan if data.KINDS[run.data] == kind]
        assert {run.network for run in of_kind} == set(networks.split())
        assert {run.regime for run in of_kind} == {"good", "few", "noisy", "short"}
        assert {run.framework for run in of_kind} == {"keras", "torch"}


def test_as_many_labels_are_wrong_as_the_run_says() -> None:
    run = next(run for run in runs.plan() if run.data == "wine" and run.noise)
    whole = data.load("wine", None)
    own = runs.of_run(run, whole)
    wrong = own.y_train != whole.y_train[: len(own.y_train)]
    assert wrong.mean() == pytest.approx(run.noise, abs=0.01)
    assert set(own.y_train) <= set(range(whole.n_classes))


def test_texts_of_the_library_are_numbered_and_even() -> None:
    tokens, categories = texts.unicode_names()
    assert tokens.shape[1] == 10
    assert 0 <= tokens.min() < tokens.max() < 1_200
    _, counts = np.unique(categories, return_counts=True)
    assert counts.max() <= 800


def test_what_is_not_installed_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "plan", lambda: _shortened("mnist-0", "mnist-1"))
    program.main(["train", str(tmp_path)])
    assert capsys.readouterr().err.count("mnist is left out: mnist.npz is not there") == 1
    assert not list(tmp_path.iterdir())


def test_networks_are_trained_described_and_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _shortened("digits-1", "digits-7", "iris-0", "breast_cancer-2")
    monkeypatch.setattr(program, "plan", lambda: plan)
    folder, path, found = tmp_path / "runs", tmp_path / "unseen.npz", tmp_path / "found.json"
    program.main(["train", str(folder)])
    program.main(["describe", str(folder), str(path)])
    table = ZooTable.load(path)
    assert np.isfinite(table.inputs(FEATURE_SETS[-1])).all()
    assert set(table.runs) == {run.name for run in plan}

    # The networks that are described are those whose accuracy was measured.
    run = next(run for run in plan if run.name.startswith("digits-1"))
    own = runs.of_run(run, data.load("digits", None))
    for model, measured in models_of(run, own, folder / f"{run.name}.npz"):
        with torch.no_grad():
            answers = model.eval()(torch.from_numpy(own.x_test)).argmax(1).numpy()
        assert np.mean(answers == own.y_test) == pytest.approx(measured["accuracy"])

    monkeypatch.setattr(program, "answers", lambda predictors: [["network", *predictors]])
    program.main(["judge", str(path), "--json", str(found)])
    results = json.loads(found.read_text())
    parts = {part["data"]: part for part in results["parts"]}
    assert parts["new"]["datasets"] == ["iris", "breast_cancer"]
    assert parts["known"]["datasets"] == ["digits"], "the zoo holds networks on it"
    tables, numbers = report.blocks(results), report.numbers(results)
    for name in ("iris", "breast_cancer", judging.MEAN):
        assert f"| {name} |" in tables["unseen new groups"].replace("**", "")
    assert numbers["unseen new data sets"] == "2"
    title = f"weights+probes+log, {judging.EVALUATED}"
    # Each data set has one network here: too few for a score of training accuracy.
    assert numbers[f"unseen new better of {title}"] == "0 of 0"


class _Sure:
    """A predictor that says what it is told."""

    features = "weights"

    def __init__(self, said: np.ndarray) -> None:
        self.said = said

    def judge(self, rows: np.ndarray) -> list[Estimate]:
        return [Estimate(a, a - 0.1, a + 0.1, in_family=a < 0.85) for a in self.said.tolist()]


def _table(accuracy: np.ndarray, **columns: Any) -> ZooTable:
    n = len(accuracy)
    given = {
        "datasets": np.full(n, "one"),
        "steps": np.arange(n, dtype=float),
        "loss": np.full(n, np.nan),
        "train_accuracy": accuracy,
        "train_loss": np.full(n, np.nan),
        "hyperparameters": {},
        **columns,
    }
    features = np.zeros((n, 1), np.float32)
    return ZooTable(
        features=features,
        feature_names=("a",),
        paper_statistics=None,
        accuracy=accuracy,
        fingerprint="",
        **given,
    )


def test_a_verdict_counts_last_checkpoints_and_each_data_set_alike() -> None:
    n = 12
    truth = np.linspace(0.2, 0.9, n)
    datasets = np.array(["one"] * 8 + ["two"] * 4)
    table = _table(
        np.stack([np.zeros(n), truth], axis=1).ravel(),
        runs=np.repeat([f"run {k}" for k in range(n)], 2),
        datasets=np.repeat(datasets, 2),
        train_accuracy=np.repeat(truth, 2),
        log_accuracy=np.repeat(truth - 0.2, 2),
        hyperparameters={
            "label_noise": np.repeat([0.0, 0.3], n),
            "alpha": np.repeat(-truth, 2),
            "n_test": np.full(2 * n, 400.0),
        },
    )
    off = np.where(datasets == "one", 0.05, -0.15)
    predictor: Any = _Sure(truth + off)
    verdicts = {v.group: v for v in judging.judge(predictor, table)}
    assert verdicts["one"].networks == 8
    assert verdicts["one"].error == pytest.approx(5)
    assert verdicts["two"].error == pytest.approx(15)
    assert (verdicts["one"].holds, verdicts["two"].holds) == (1, 0)
    assert verdicts["two"].reported_error == pytest.approx(20)
    assert verdicts["two"].evaluated_error == pytest.approx(0)
    assert verdicts[judging.MEAN].error == pytest.approx(10)
    assert verdicts["all networks"].error == pytest.approx((8 * 5 + 4 * 15) / 12)
    assert verdicts["wrong labels"].networks == 6
    noise = np.sqrt(2 / np.pi * truth * (1 - truth) / 400)
    assert verdicts["two"].perfect_error == pytest.approx(100 * noise[8:].mean(), rel=0.05)
    assert 0.9 < verdicts["two"].perfect_tau < 1
    groups = {name: dataclasses.asdict(verdict) for name, verdict in verdicts.items()}
    for form, share in ((judging.REPORTED, "2 of 2"), (judging.EVALUATED, "0 of 2")):
        assert report.better_on({"log": form, "groups": groups}) == share
    (rank,) = judging.ranks(table, ["alpha", "beta"])
    assert rank == {"column": "alpha", "networks": 12, "tau": pytest.approx(1)}


def test_a_choice_of_a_checkpoint_costs_what_the_best_one_has_more() -> None:
    truth = np.array([0.5, 0.8, 0.7, 0.9])
    table = _table(truth, runs=np.array(["a", "a", "a", "b"]), log_accuracy=truth[::-1].copy())
    ours: Any = _Sure(truth)
    lost = judging.choices(table, [("ours", ours, judging.REPORTED)])
    found = [lost_by["all networks"] for lost_by in lost.values()]
    assert next(iter(lost)) == "the last"
    assert list(lost)[-1] == "ours"
    assert found == pytest.approx([5, 15, 0, 0])


def test_not_classifiers_are_asked_with_and_without_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    predictors = {"ours": program.load_predictor()}
    one, many = nn.Linear(10, 1), nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3))
    asked = [not_classifiers.Asked("one", one, (10,)), not_classifiers.Asked("many", many, (10,))]
    monkeypatch.setattr(not_classifiers, "not_classifiers", lambda: iter(asked))
    head, first, second = not_classifiers.answers(predictors)
    assert head == ["network", "refused", "ours"]
    assert first[:2] == ["one", "yes"]
    assert second[:2] == ["many", "no"]
    assert ": " in second[2]
