"""Every example runs, is short, and stands in the documentation with what it prints."""

from __future__ import annotations

import re

import pytest

from tests.examples.example_runs import FOLDER, run_example

DOCS = FOLDER.parent / "docs"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")}
TEXT = "\n".join(PAGES.values())

END = r"trained \d+ of 20 epochs, true accuracy 0\.\d+\n$"
# Name to what the last lines look like.
HERE = {
    "keras_fit": r"estimate 0\.\d+  interval 0\.\d+ to [01]\.\d+\n" + END,
    "lightning_trainer": r"Epoch \d+: accuracy_from_weights 0\.\d+ \[.*\]\n" + END,
    "pytorch_loop": r"epoch +\d+  estimate 0\.\d+  truth 0\.\d+\n(stopped: .*\n)?$",
    "past_runs": r"(?s)Measured by .* run .*run30-epoch9\.pt +0\.\d+",
}
# The others need a library that does not install beside everything else, and are run by the tests
# of the folder named.
ELSEWHERE = {
    "huggingface_trainer": ("huggingface", r"epoch +\d+  estimate 0\.\d+\n" + END),
    "skorch_fit": ("skorch", r"epoch +\d+  estimate 0\.\d+\n" + END),
    "ignite_trainer": ("ignite", r"epoch +\d+  estimate 0\.\d+\n" + END),
    "optuna_search": ("optuna", r"pruned\n(.*\n)*best by its estimate: trial \d\n$"),
    "ray_tune_search": ("raytune", r" 2 epochs (.*\n)*best by its estimate: \{.*\}\n$"),
    "federated_round": ("flower", r"sound updates only: .*\n(.*\n)*.*untrained, left out\n"),
}
SHOWN = {**HERE, **{name: pattern for name, (_, pattern) in ELSEWHERE.items()}}
FRAMEWORKS = {
    "keras.md": "keras_fit",
    "lightning.md": "lightning_trainer",
    "pytorch.md": "pytorch_loop",
    "transformers.md": "huggingface_trainer",
    "skorch.md": "skorch_fit",
    "ignite.md": "ignite_trainer",
}


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
def test_the_pages_show_what_it_prints_and_list_it(name):
    shown = re.search(
        rf"<!-- made: output of {name} -->\n\n```text\n(.+?)```\n\n<!-- end -->", TEXT, re.DOTALL
    )
    assert shown is not None
    assert re.search(SHOWN[name], shown[1])
    assert f"`{name}.py`" in PAGES["examples.md"]


@pytest.mark.parametrize("page", FRAMEWORKS)
def test_the_page_of_a_framework_holds_its_program_as_it_is(page):
    name = FRAMEWORKS[page]
    program = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert (
        f"<!-- made: program {name} -->\n\n```python\n{program}```\n\n<!-- end -->" in PAGES[page]
    )


def test_no_example_goes_back_to_an_earlier_epoch():
    """The last epoch is what the documentation recommends everywhere."""
    for path in FOLDER.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search("restore_best|load_best|save_best|best_model", text), path
