"""The chart of a real TensorBoard, asked as its page asks it."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard import program
from torch.utils.tensorboard import SummaryWriter

from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.integrations.tensorboard import add_chart
from tests.callbacks.loop import KEY, network
from tests.callbacks.scripted import Scripted


def serve(folder: Path) -> Callable[..., Any]:
    """Return what asks the server of a folder until it has loaded the files."""
    server = program.TensorBoard()
    server.configure(argv=[None, "--logdir", str(folder), "--port", "0", "--load_fast", "false"])
    url = server.launch()

    def ask(route: str, **query: str) -> Any:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            path = f"{url}data/plugin/custom_scalars/{route}?{urllib.parse.urlencode(query)}"
            with urllib.request.urlopen(path) as page:
                found = json.load(page)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"TensorBoard has nothing under {route}")

    return ask


def test_one_chart_has_estimate_band_and_truth(tmp_path):
    with SummaryWriter(tmp_path / "run") as writer:
        monitor = Monitor(
            Scripted([0.25, 0.5]),
            log_to=lambda values, step: [writer.add_scalar(k, v, step) for k, v in values.items()],
        )
        for step in range(2):
            monitor.update(network(), step)
            writer.add_scalar("val_acc", 0.3, step)
    add_chart(tmp_path, truth="val_acc")
    ask = serve(tmp_path)
    (category,) = ask("layout")["category"]
    (chart,) = category["chart"]
    series = chart["margin"]["series"]
    assert series == [
        {"value": KEY, "lower": f"{KEY}_low", "upper": f"{KEY}_high"},
        {"value": "val_acc", "lower": "val_acc", "upper": "val_acc"},
    ]
    expected = {KEY: [0.25, 0.5], f"{KEY}_low": [0.15, 0.4], "val_acc": [0.3, 0.3]}
    for name, values in expected.items():
        events = ask("scalars", run="run", tag=f"^{name}$")["tag_to_events"][name]
        assert [value for _, _, value in events] == pytest.approx(values)
