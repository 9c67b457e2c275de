"""The notebook runs from its first cell to its last, and holds what it shows."""

from __future__ import annotations

import json
import re

import matplotlib.pyplot as plt
import pytest

from tests.examples.example_runs import FOLDER

CELLS = json.loads((FOLDER / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
OUTPUTS = [output for cell in CELLS for output in cell.get("outputs", [])]
EPOCHS = r"(epoch +\d+  estimate 0\.\d+ \[0\.\d+, [01]\.\d+\]  truth 0\.\d+\n)+"
ENDS = EPOCHS + r"Monitor: stopped at step \d+ .*\n" + EPOCHS
FILE = r"estimate 0\.\d+ \[0\.\d+, [01]\.\d+\]  truth 0\.\d+\n$"


@pytest.mark.filterwarnings("ignore:.*outside the family")
def test_it_runs_stops_early_draws_and_judges_its_file(tmp_path, monkeypatch, capsys):
    """Without a kernel, which would take ten packages to say the same."""
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    names: dict = {}
    try:
        for code in CODE:
            exec(compile(code, "cell", "exec"), names)
        assert re.fullmatch(ENDS + FILE, capsys.readouterr().out)
        assert len(plt.get_fignums()) == 1
    finally:
        plt.close("all")
    last = names["rows"][-1]
    assert last["accuracy_from_weights"] == pytest.approx(last["truth"], abs=0.1)
    assert names["estimate"].low < names["estimate"].accuracy < names["estimate"].high
    assert names["monitor"].should_stop
    truths = dict(names["axes"].lines[-1].get_xydata())
    assert truths == {row["epoch"]: row["truth"] for row in names["rows"]}
    assert [path.name for path in tmp_path.iterdir()] == ["digits.pt"]


def test_it_holds_what_it_prints_and_the_picture():
    text = "".join(line for output in OUTPUTS for line in output.get("text", []))
    assert re.fullmatch(ENDS + FILE, text)
    pictures = [output["data"] for output in OUTPUTS if "data" in output]
    assert ["image/png" in data for data in pictures] == [True]


def test_the_story_is_short_and_its_links_lead_somewhere():
    assert sum(len(code.splitlines()) for code in CODE) < 60
    told = "".join(line for cell in CELLS for line in cell["source"])
    links = re.findall(r"\]\((\.\./[^)#]+)\)", told)
    assert len(links) >= 3
    assert all((FOLDER / link).exists() for link in links)
