"""The example of the page about new frameworks, run in a framework that is made up for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from accuracy_from_weights.callbacks import base
from accuracy_from_weights.errors import AccuracyFromWeightsWarning
from accuracy_from_weights.stopping import Patience
from tests.callbacks import loop
from tests.callbacks.loop import KEY, KEYS
from tests.callbacks.scripted import Foreseeing, Informed, Scripted, digits, ours_among

PAGE = (Path(__file__).parents[2] / "docs/new_framework.md").read_text(encoding="utf-8")


class Trainer:
    """A small framework: it trains for real, and hands every callback its trainer."""

    def __init__(self, callbacks: list[Any], epochs: int) -> None:
        self.callbacks, self.epochs, self.epoch = callbacks, epochs, 0
        self.model, self.data, self.should_stop = loop.network(), digits(128)[0], False
        self.metrics: dict[str, float] = {}
        self.seen: list[dict[str, float]] = []

    def call(self, hook: str) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self)

    def fit(self) -> list[dict[str, float]]:
        self.call("on_train_begin")
        loop.train(self.model, self.epochs, self.after_epoch)
        return self.seen

    def after_epoch(self, epoch: int) -> bool:
        self.epoch = epoch
        self.metrics = {"accuracy": 0.5, "loss": 2.0, "val_accuracy": 0.25}
        self.call("on_epoch_end")
        self.seen.append(self.metrics)
        return self.should_stop


@pytest.fixture(scope="module")
def example() -> Any:
    """The class that the page defines."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return names["AccuracyFromWeights"]


def test_it_logs_stops_and_forecasts(example, capsys):
    ours = example(Scripted([0.3, 0.6, 0.5, 0.4]), stopping=Patience(2))
    seen = Trainer([ours], 9).fit()
    assert [metrics[KEY] for metrics in seen] == [0.3, 0.6, 0.5, 0.4]
    assert set(KEYS) <= set(seen[0])
    assert "(no improvement)" in capsys.readouterr().out
    seen = Trainer([example(Foreseeing(), forecast=True)], 4).fit()
    assert [metrics[f"{KEY}_final"] for metrics in seen] == [0.25, 0.5, 0.75, 1.0]


def test_it_reads_the_log_and_anchors(example, described):
    ours = example(
        Informed("weights+probes+log"), input_shape=(1, 8, 8), anchor_every=1, name="ours"
    )
    seen = Trainer([ours], 2).fit()
    assert [given["log"] for given in described] == [
        {"accuracy": 0.5, "loss": 2.0, "samples": 128}
    ] * 2
    assert [metrics["ours_anchor"] for metrics in seen] == [0.25] * 2
    assert seen[0]["ours"] == pytest.approx(0.25)


def test_training_goes_on_as_without_when_every_estimate_fails(example):
    plain = Trainer([], 3)
    plain.fit()
    watched = Trainer([example(Scripted([OSError("x")]))], 3)
    with pytest.warns(AccuracyFromWeightsWarning, match="failed and training goes on") as caught:
        seen = watched.fit()
    assert len(ours_among(caught)) == 1
    assert all(np.isfinite(list(metrics.values())).all() for metrics in seen)
    for one, other in zip(
        plain.model.state_dict().values(), watched.model.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


def test_a_callback_that_names_no_network_says_so(example):
    class Nameless(base.AccuracyCallback):
        pass

    with pytest.warns(AccuracyFromWeightsWarning, match="has no method `network`"):
        assert not Nameless(Scripted([0.5])).estimate_epoch(None, 0).known


def test_every_public_name_that_the_page_lists_is_there():
    table = PAGE.split("## What the base class offers")[1].split("##")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    names = [name for row in rows for name in re.findall(r"`@?(\w+)", row)]
    assert len(names) > 10
    for name in names:
        assert hasattr(base.AccuracyCallback, name) or hasattr(base, name), name
    assert not re.search(r"(import|\.)\s*_\w+", PAGE)


@pytest.mark.parametrize("truths", [False, True])
def test_a_network_is_described_once_an_epoch_however_often_it_is_judged(
    example, described, truths
):
    """Estimate, truth and forecast are judged from one row."""
    asked = []

    class Counting(Informed):
        def judge(self, rows, progress=None, horizon="now"):
            asked.append(horizon)
            return super().judge(rows, progress, horizon)

    more = {"anchor_every": 1} if truths else {}
    ours = example(Counting(), forecast=True, **more)
    Trainer([ours], 3).fit()
    assert len(described) == 3
    assert len(asked) == (9 if truths else 6)
