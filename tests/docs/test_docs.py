"""What the documentation shows works."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from accuracy_from_weights.errors import AccuracyFromWeightsWarning

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_callback_that_the_guide_shows_estimates_stops_and_resumes():
    from accuracy_from_weights.stopping import Patience

    names: dict = {}
    exec("\n".join(blocks("new_framework.md", "python")), names)
    callback = names["AccuracyFromWeights"](stopping=Patience(2))
    generator = np.random.default_rng(0)
    weights = {"0.weight": generator.normal(size=(8, 4)), "1.weight": generator.normal(size=(3, 8))}
    trainer = SimpleNamespace(model=weights, metrics={}, should_stop=False, epoch=0)
    callback.on_train_begin(trainer)

    def train():
        while not trainer.should_stop and trainer.epoch < 9:
            callback.on_epoch_end(trainer)
            trainer.epoch += 1

    with warnings.catch_warnings():
        # Whether such a network is inside the family is for the predictor that ships to say.
        warnings.simplefilter("ignore", AccuracyFromWeightsWarning)
        train()
    assert trainer.epoch == 3, "the weights stand still, so patience ends the run"
    assert callback.decision.stop
    low, value, high = (
        trainer.metrics[f"accuracy_from_weights{end}"] for end in ("_low", "", "_high")
    )
    assert 0 <= low <= value <= high <= 1
    callback.load_state_dict(callback.state_dict())


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_the_code_of_every_page_is_python(page):
    for block in blocks(page, "python"):
        compile(block, page, "exec")


def test_the_pages_of_the_api_name_what_there_is():
    import importlib

    names = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(names) > 20
    for name in names:
        if any(framework in name for framework in ("huggingface", "skorch", "ignite", "flower")):
            continue  # their frameworks have environments of their own
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            assert getattr(importlib.import_module(module), attribute).__doc__


def test_the_menu_of_the_site_holds_every_page_once():
    yaml = pytest.importorskip("yaml")
    menu = yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = [page for group in menu for entries in group.values() for page in entries]
    named = sorted(name for page in pages for name in page.values())
    assert named == sorted(path.name for path in DOCS.glob("*.md"))
