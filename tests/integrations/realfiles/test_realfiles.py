"""Weights that nobody here has made: each is read whole, and the docs say what is said about it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from accuracy_from_weights.errors import AccuracyFromWeightsError
from accuracy_from_weights.weights import read_weights
from tests.integrations.realfiles.table import (
    BEGIN,
    END,
    FILES,
    KINDS,
    PAGE,
    RealFile,
    estimate_of,
    said,
    shapes,
)

PACKAGES = sorted({entry.path.partition("/")[0] for entry in FILES})


@pytest.mark.parametrize("entry", FILES, ids=lambda entry: entry.path)
def test_each_file_is_read_whole_or_refused(entry: RealFile) -> None:
    files = entry.files()
    assert files, "the tox environment realfiles installs the packages"
    for file in files:
        if entry.layers:
            found = shapes(file)
            assert entry.layers in (-1, len(found))
            assert entry.last in ((), found[-1])
        else:
            with pytest.raises(AccuracyFromWeightsError) as caught:
                read_weights(file)
            assert str(file) in str(caught.value)


def test_the_table_lists_every_file_of_weights_in_the_packages() -> None:
    listed = {file for entry in FILES for file in entry.files()}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        for folder in spec.submodule_search_locations or []:
            there = {path for path in Path(folder).rglob("*") if path.suffix in KINDS}
            assert there <= listed


@pytest.mark.parametrize("entry", FILES, ids=lambda entry: entry.path)
def test_the_docs_say_what_is_said(entry: RealFile) -> None:
    table = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    (line,) = (line for line in table.splitlines() if f"`{entry.path}`" in line)
    cell = line.split("|")[3].strip()
    words = {said(file)[0] for file in entry.files()}
    assert {cell.partition(":")[0]} == words, (
        "python -m tests.integrations.realfiles.table writes the table anew"
    )


@pytest.mark.parametrize("entry", FILES, ids=lambda entry: entry.path)
def test_only_classifiers_are_estimated_and_no_working_network_is_called_ruined(
    entry: RealFile,
) -> None:
    for file in entry.files():
        word, _ = said(file)
        assert word != ("refused" if entry.classifies else "estimated")
        if word != "refused":
            assert estimate_of(file).condition == "ok"


def test_a_module_and_its_file_get_one_estimate() -> None:
    """EfficientNet's own epsilon, which a state dict does not hold, makes a small difference."""
    module = pytest.importorskip("efficientnet_lite_pytorch")
    (entry,) = (entry for entry in FILES if entry.path.startswith("efficientnet"))
    (file,) = entry.files()
    import torch

    network = module.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(file, weights_only=True))
    live, stored = read_weights(network.eval()), read_weights(file)
    assert [layer.name for layer in live.layers] == [layer.name for layer in stored.layers]
    assert [layer.kind for layer in live.layers] == [layer.kind for layer in stored.layers]
