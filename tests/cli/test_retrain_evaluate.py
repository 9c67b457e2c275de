"""``retrain`` and ``evaluate`` on a small zoo in the published format."""

from __future__ import annotations

import json
import resource
import signal

import numpy as np
import pytest
from markupsafe import escape

from accuracy_from_weights import AccuracyPredictor, load_predictor
from accuracy_from_weights.evaluation import BASELINES, OURS
from tests.cli.conftest import save_network, write_zoo


@pytest.fixture(scope="module")
def retrained(zoo, tmp_path_factory):
    """A predictor fitted by the command, and what the command printed."""
    from contextlib import redirect_stdout
    from io import StringIO

    from accuracy_from_weights.cli import main

    output = tmp_path_factory.mktemp("predictor") / "predictor.zip"
    printed = StringIO()
    options = ("--from-scratch", "--coverage", "0.8", "--json")
    with redirect_stdout(printed), pytest.raises(SystemExit) as leaving:
        main.main(["retrain", str(zoo), "--output", str(output), *options])
    assert not leaving.value.code
    return output, json.loads(printed.getvalue())


def test_retrain_writes_a_predictor_that_knows_its_worth(retrained):
    output, report = retrained
    assert list(output.parent.iterdir()) == [output], "nothing but the file"
    quality = report["quality"]
    assert quality["stated_coverage"] == 0.8
    assert quality["r2"] > 0.7
    assert report["zoo"]["datasets"] == ["made_up"]
    predictor = load_predictor(output)
    assert predictor.coverage == 0.8
    assert predictor.card_["quality"] == quality


def test_estimate_with_the_retrained_predictor(cli, retrained, tmp_path):
    output, _ = retrained
    files = [
        save_network(tmp_path / f"{strength}.npz", strength, seed=100)
        for strength in (0.05, 0.4, 0.9)
    ]
    result = cli("estimate", *files, "--predictor", output, "--json")
    rows = json.loads(result.out)
    accuracies = [row["accuracy"] for row in rows]
    assert accuracies == sorted(accuracies)
    assert accuracies[2] - accuracies[0] > 0.3
    assert all(row["coverage"] == 0.8 for row in rows)


def test_retrain_starts_from_the_predictor_that_ships(cli, tmp_path):
    few, output = write_zoo(tmp_path / "few", 4), tmp_path / "few.predictor"
    result = cli("retrain", few, "--output", output)
    assert result.code == 0
    assert "4 runs correct the level" in result.out
    retrained, shipped = load_predictor(output), load_predictor()
    assert retrained.card_["base"]["quality"] == shipped.card_["quality"]
    assert retrained.anchor_ != shipped.anchor_


def test_evaluate_a_given_predictor(cli, retrained, tmp_path):
    output, _ = retrained
    unseen = write_zoo(tmp_path / "unseen", 20, seed=9)
    result = cli("evaluate", unseen, "--predictor", output)
    assert result.code == 0
    assert "a given predictor" in result.out
    assert "as if it had seen none of them" in result.err


def test_evaluate_on_its_own_networks_is_no_evidence(cli, retrained, zoo):
    output, _ = retrained
    result = cli("evaluate", zoo, "--predictor", output)
    assert result.code == 0
    assert "was fitted to these very networks" in result.err


def test_evaluate_stands_beside_every_baseline(cli, zoo, tmp_path):
    report = tmp_path / "report.html"
    result = cli("evaluate", zoo, "--folds", 2, "--json", "--report", report)
    assert result.code == 0
    page = report.read_text(encoding="utf-8")
    assert "made_up" in page
    assert all(
        str(escape(baseline.name)) in page for baseline in BASELINES if baseline.name in result.out
    )
    assert str(report) in result.err
    (evaluation,) = json.loads(result.out)
    scores = {row["name"]: row for row in evaluation["final_checkpoints"]}
    assert list(scores)[-1] == OURS
    expected = {baseline.name for baseline in BASELINES} - {"training accuracy as logged"}
    assert set(scores) - {OURS} == expected
    assert scores[OURS]["n_runs"] == 25
    assert scores[OURS]["coverage"]["value"] is not None
    assert scores["mean"]["coverage"] is None
    assert 0 < evaluation["final_tie_ceiling"] <= 1


def test_evaluate_says_early_that_it_cannot_write(cli, zoo, tmp_path):
    result = cli("evaluate", zoo, "--report", tmp_path / "no" / "folder" / "report.html")
    assert result.code == 1
    assert "The report cannot be written to" in result.err
    assert "Fitting" not in result.err


@pytest.mark.parametrize("command", ["retrain", "evaluate"])
@pytest.mark.parametrize("kind", ["missing", "empty", "no accuracies", "three networks", "text"])
def test_bad_zoos_are_one_sentence(cli, tmp_path, command, kind):
    path = tmp_path / "zoo"
    code = 1
    if kind == "missing":
        code = 4
    elif kind == "empty":
        path.mkdir()
    elif kind == "text":
        path.write_text("no zoo")
        code = 4
    else:
        write_zoo(path, 3 if kind == "three networks" else 20, accuracies=kind != "no accuracies")
    output = tmp_path / "predictor"
    options = ["--output", output, "--from-scratch"] if command == "retrain" else []
    result = cli(command, path, *options)
    assert result.code == code
    assert result.out == ""
    assert [line for line in result.err.splitlines() if line.startswith("Error: ")]
    assert "Traceback" not in result.err
    assert "Unexpected" not in result.err
    assert not output.exists()


def test_retrain_says_early_that_it_cannot_write(cli, zoo, tmp_path):
    result = cli("retrain", zoo, "--output", tmp_path / "no" / "folder" / "predictor")
    assert result.code == 1
    assert "The predictor cannot be written to" in result.err
    assert "Fitting" not in result.err


@pytest.fixture
def fitted_at_once(retrained, monkeypatch):
    """Fitting takes no time, so that all else of the command can be tried several times."""
    known = load_predictor(retrained[0])

    def fit(self, *args, **kwargs):
        vars(self).update(vars(known) | {"random_state": self.random_state})
        return self

    monkeypatch.setattr(AccuracyPredictor, "fit", fit)


def test_two_retrains_onto_one_file_do_not_mix(cli, fitted_at_once, zoo, tmp_path, monkeypatch):
    """The second one begins and ends while the first one is in the middle of its file."""
    output = tmp_path / "predictor"
    write, inner = np.savez_compressed, []

    def interrupted(file, **arrays):
        file.write(b"the first half")
        if not inner:
            inner.append(True)
            assert cli("retrain", zoo, "--from-scratch", "--output", output, "--seed", 2).code == 0
            assert load_predictor(output).random_state == 2
        file.seek(0)
        write(file, **arrays)

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    assert cli("retrain", zoo, "--from-scratch", "--output", output, "--seed", 1).code == 0
    assert inner
    assert load_predictor(output).random_state == 1, "the later one's, and whole"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("has_old", [True, False])
def test_a_full_disk_leaves_what_was_there(cli, fitted_at_once, retrained, zoo, tmp_path, has_old):
    """The disk fills up in the middle of the file: a limit on its size raises the same way."""
    output = tmp_path / "predictor"
    if has_old:
        output.write_bytes(retrained[0].read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        result = cli("retrain", zoo, "--from-scratch", "--output", output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert result.code == 1
    errors = [line for line in result.err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert f"could not be written to {output} (File too large)" in errors[0]
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_is_removed_meanwhile(cli, fitted_at_once, zoo, tmp_path, monkeypatch):
    folder = tmp_path / "results"
    folder.mkdir()
    fit = AccuracyPredictor.fit

    def fit_and_remove(self, *args, **kwargs):
        folder.rmdir()
        return fit(self)

    monkeypatch.setattr(AccuracyPredictor, "fit", fit_and_remove)
    result = cli("retrain", zoo, "--from-scratch", "--output", folder / "predictor")
    assert result.code == 1
    assert "The predictor could not be written to" in result.err
    assert "Traceback" not in result.err


def test_an_unwritable_folder_is_told_before_the_work(cli, zoo):
    """Nobody can make a file in /proc, not even root, to whom access rights mean nothing."""
    result = cli("retrain", zoo, "--output", "/proc/predictor")
    assert result.code == 1
    assert "cannot be written to /proc/predictor" in result.err
    assert "Fitting" not in result.err
