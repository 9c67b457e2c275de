"""Each test that the page about callbacks names is there, in the folder of that framework."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
PAGE = (TESTS.parent / "docs/callbacks.md").read_text(encoding="utf-8")
FILES = {
    "Keras on PyTorch and JAX": "callbacks/test_keras_*.py",
    "Keras on TensorFlow": "integrations/tensorflow/*.py",
    "Keras": "callbacks/test_keras_*.py",
    "Lightning, both names": "callbacks/test_lightning_*.py",
    "Lightning": "callbacks/test_lightning_callback.py",
    "transformers 4 and 5": "integrations/huggingface/*.py",
    "transformers": "integrations/huggingface/*.py",
    "skorch": "integrations/skorch/*.py",
    "Ignite": "integrations/ignite/*.py",
    "a loop of your own": "callbacks/test_[lm]o*.py",
}


def functions_in(pattern: str) -> set[str]:
    return {
        node.name
        for path in TESTS.glob(pattern)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    below = PAGE.split(f"{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", below, flags=re.MULTILINE)
    assert table is not None
    lines = [line.strip("|").split("|") for line in table[0].splitlines()]
    return [[cell.strip() for cell in line] for line in lines if not line[0].startswith("---")]


def cells() -> list[tuple[str, str, str]]:
    """Return framework, what is shown, and what names the tests."""
    by_row, by_column = (
        rows(heading)
        for heading in ("## What is tested, and where", "### Warnings about wrong use")
    )
    found = [
        (row[0], title, cell)
        for row in by_row[1:]
        for title, cell in zip(by_row[0][1:], row[1:], strict=True)
    ]
    return found + [
        (framework, row[0], cell)
        for row in by_column[1:]
        for framework, cell in zip(by_column[0][1:], row[1:], strict=True)
    ]


NAMED = [
    pytest.param(framework, name, id=f"{framework}, {title}")
    for framework, title, cell in cells()
    for name in re.findall(r"`(test_\w+)`", cell)
]


@pytest.mark.parametrize(("framework", "name"), NAMED)
def test_the_test_that_a_cell_names_is_there(framework, name):
    assert name in functions_in(FILES[framework])


def test_no_cell_is_read_past():
    assert len(NAMED) > 35
    empty = {(framework, title) for framework, title, cell in cells() if not cell}
    assert {title for _, title in empty} == {"two processes"}


def test_tests_that_the_text_names_are_there():
    everywhere = functions_in("**/*.py")
    names = set(re.findall(r"`(test_\w+)`", PAGE))
    assert names <= everywhere


@pytest.mark.parametrize(
    "pattern",
    [
        "callbacks/test_keras_callback.py",
        "callbacks/test_lightning_callback.py",
        "callbacks/test_monitor.py",
        "integrations/huggingface/test_huggingface.py",
        "integrations/skorch/test_skorch.py",
        "integrations/ignite/test_ignite.py",
    ],
)
def test_what_the_text_says_of_every_framework_is_there(pattern):
    names = functions_in(pattern)
    assert any("bit_for_bit" in name for name in names)
    assert "test_every_rule_ends_a_run_for_its_reason" in names
    if "integrations" in pattern:
        assert "check_every_fault" in (TESTS / pattern).read_text(encoding="utf-8")


def test_faults_are_injected_into_the_callbacks_of_the_main_run():
    names = functions_in("callbacks/test_faults.py")
    assert {"test_monitor", "test_keras", "test_lightning"} <= names
