"""The demo, short and real."""

from __future__ import annotations

import functools
import io
import sys

import numpy as np
import pytest

from accuracy_from_weights.cli import demo as demo_command
from accuracy_from_weights.cli import demo_training as demo
from accuracy_from_weights.cli import main
from accuracy_from_weights.errors import (
    AccuracyFromWeightsError,
    AccuracyFromWeightsWarning,
)
from accuracy_from_weights.io.logged_names import DEFAULT_NAME
from accuracy_from_weights.zoo.recipes import paper
from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from tests.callbacks.scripted import Scripted


def test_training_stops_on_the_estimate():
    scripted = Scripted([0.3, 0.6, 0.5, 0.5, 0.4, 0.9])
    watched = demo.watch_digits(
        demo.load_digits(), {DEFAULT_NAME: scripted}, epochs=6, patience=2, seed=1
    )
    assert [seen.epoch for seen in watched.epochs] == [1, 2, 3, 4], "two epochs without a rise"
    assert watched.log[DEFAULT_NAME] == pytest.approx([0.3, 0.6, 0.5, 0.5])
    assert watched.true_accuracy[-1] > watched.true_accuracy[0] > 0.1


def test_held_out_images_change_nothing_but_the_truth_that_is_shown():
    data = demo.load_digits()
    shuffled = type(data)(
        **{**vars(data), "y_test": np.random.default_rng(0).permutation(data.y_test)}
    )
    runs = []
    for images in (data, shuffled):
        scripted = Scripted([0.5, 0.4])
        runs.append((demo.watch_digits(images, {DEFAULT_NAME: scripted}, epochs=2), scripted.rows))
    (honest, rows), (blind, same_rows) = runs
    np.testing.assert_array_equal(rows, same_rows)
    assert honest.log == blind.log
    assert honest.true_accuracy[-1] > 0.5 > 0.3 > blind.true_accuracy[-1]


def test_an_estimate_that_fails_ends_the_demo_in_a_sentence():
    failing = Scripted([OSError("no estimate")])
    with (
        pytest.warns(AccuracyFromWeightsWarning, match="failed"),
        pytest.raises(AccuracyFromWeightsError, match="no estimate of"),
    ):
        demo.watch_digits(demo.load_digits(), {DEFAULT_NAME: failing}, epochs=1)


def test_the_command_prints_epochs_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as leaving:
        main.main(["demo", "--epochs", "2"])
    assert not leaving.value.code
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[0] == "epoch"
    for epoch, line in enumerate(printed[1:3], start=1):
        cells = line.replace("[", " ").replace("]", " ").replace(",", " ").replace("?", " ").split()
        assert int(cells[0]) == epoch
        estimate, low, high, truth = map(float, cells[1:])
        assert 0 <= low <= estimate <= high <= 1
        assert 0 < truth <= 1
    assert printed[-2].startswith("Advice: ")
    (picture,) = tmp_path.iterdir()
    assert printed[-1] == f"Picture: {picture.name}"
    assert picture.suffix == ".png"
    assert picture.read_bytes().startswith(b"\x89PNG")


class Terminal(io.StringIO):
    """Keeps what is printed, as a terminal of an encoding would."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self.named = encoding

    @property
    def encoding(self) -> str:
        return self.named

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("encoding", "band", "estimate", "truth"),
    [("utf-8", "─", "●", "◇"), ("ascii", "-", "*", "o")],
)
def test_on_a_terminal_each_epoch_has_a_line_from_0_to_100_percent(
    monkeypatch, encoding, band, estimate, truth
):
    seen = demo.EpochSeen(
        1, {DEFAULT_NAME: 0.5, f"{DEFAULT_NAME}_low": 0.0, f"{DEFAULT_NAME}_high": 0.75}, 1.0
    )
    monkeypatch.setattr(sys, "stdout", Terminal(encoding))
    monkeypatch.setenv("COLUMNS", "80")
    strip = demo_command.Strip([DEFAULT_NAME])
    assert strip.line(seen) == "  " + band * 13 + estimate + band * 7 + " " * 5 + truth
    assert len(strip.heading) == len(strip.line(seen))
    assert strip.heading.split()[0] == "0%"
    monkeypatch.setenv("COLUMNS", "79")
    narrow = demo_command.Strip([DEFAULT_NAME])
    assert (narrow.heading, narrow.line(seen)) == ("", "")


@pytest.mark.parametrize(
    ("low", "in_family", "advice"),
    [(0.4, 1.0, "keep the last epoch"), (0.7, 1.0, "30 points off"), (0.4, 0.0, "retrain it")],
)
def test_the_advice_follows_from_what_was_seen(low, in_family, advice):
    numbers = {"": 0.8, "_low": low, "_high": 0.9, "_in_family": in_family}
    log = {DEFAULT_NAME + suffix: number for suffix, number in numbers.items()}
    watched = demo.Watched([demo.EpochSeen(1, log, 0.5)])
    said = demo_command.advice(watched, DEFAULT_NAME)
    assert advice in said
    assert "\n" not in said


def test_full_shows_a_predictor_of_its_own_beside_the_given_one(tmp_path, capsys, monkeypatch):
    quick = functools.partial(PaperRecipe, epochs=2, checkpoints=(0, 1, 2))
    monkeypatch.setattr(paper, "PaperRecipe", quick)
    picture = tmp_path / "full.png"
    arguments = ["demo", "--full", "--networks", "20", "--epochs", "2", "--output", str(picture)]
    with pytest.raises(SystemExit) as leaving:
        main.main(arguments)
    assert not leaving.value.code
    streams = capsys.readouterr()
    first_epoch = streams.out.splitlines()[1]
    assert first_epoch.count("[") == 2
    assert "retrained on digits" in streams.out.splitlines()[0]
    assert picture.exists()
    assert list(tmp_path.iterdir()) == [picture], "the zoo was temporary"


@pytest.mark.parametrize(
    ("missing", "extra"), [("keras", "demo"), ("matplotlib.figure", "plot")], ids=["keras", "plot"]
)
def test_what_is_missing_is_named_before_anything_is_done(monkeypatch, capsys, missing, extra):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as leaving:
        main.main(["demo"])
    assert leaving.value.code == 1
    streams = capsys.readouterr()
    assert f"accuracy-from-weights[{extra}]" in streams.err
    assert streams.err.count("\n") == 1
    assert streams.out == ""
