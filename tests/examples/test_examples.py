"""Every example runs, is short, and stands in the documentation with what it prints."""

from __future__ import annotations

import re

import pytest

from tests.examples.example_runs import FOLDER, run_example

PAGE = FOLDER.parent / "docs" / "examples.md"

# Name to what the last lines look like.
HERE = {
    "keras_fit": r"estimate 0\.\d+ .*\nkept epoch \d+, whose true accuracy is 0\.\d+\n$",
    "lightning_trainer": r"kept epoch=\d+-accuracy_from_weights=0\.\d+\.ckpt\nits true accuracy",
    "pytorch_loop": r"epoch +\d+  estimate 0\.\d+  truth 0\.\d+\n(stopped: .*\n)?$",
    "past_runs": r"(?s)Measured by .* run .*run30-epoch9\.pt +0\.\d+",
}
# The others need a library that does not install beside everything else, and are run by the tests
# of the folder named.
ELSEWHERE = {
    "huggingface_trainer": ("huggingface", r"kept epoch \d+, whose true accuracy is 0\.\d+\n$"),
    "optuna_search": ("optuna", r"pruned\n(.*\n)*best by its estimate: trial \d\n$"),
    "ray_tune_search": ("raytune", r" 2 epochs (.*\n)*best by its estimate: \{.*\}\n$"),
    "federated_round": ("flower", r"sound updates only: .*\n(.*\n)*.*untrained, left out\n"),
}
SHOWN = {**HERE, **{name: pattern for name, (_, pattern) in ELSEWHERE.items()}}


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("name", HERE)
def test_it_runs_and_leaves_no_file_behind(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.search(HERE[name], run_example(name))
    assert list(tmp_path.iterdir()) == []


def test_no_example_is_without_a_test_and_none_is_long():
    files = {path.stem: path for path in FOLDER.glob("*.py")}
    assert files.keys() == HERE.keys() | ELSEWHERE.keys()
    for name, (folder, _) in ELSEWHERE.items():
        tests = (FOLDER.parent / "tests" / "integrations" / folder).glob("test_*.py")
        assert any(f'"{name}"' in path.read_text(encoding="utf-8") for path in tests)
    for path in files.values():
        assert len(path.read_text(encoding="utf-8").splitlines()) < 60, path


@pytest.mark.parametrize("name", SHOWN)
def test_the_page_shows_what_it_prints(name):
    shown = re.search(
        rf"<!-- output of {name} -->\n```text\n(.+?)```",
        PAGE.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    assert shown is not None
    assert re.search(SHOWN[name], shown[1])
