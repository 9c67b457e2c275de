"""Imports: what is cheap stays cheap, and the code flows one way."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import accuracy_from_weights

PACKAGE = Path(accuracy_from_weights.__file__).parent
NAME = "accuracy_from_weights"
HEAVY = {"torch", "keras", "tensorflow", "jax", "lightning", "sklearn", "scipy", "pandas"}
FRAMEWORKS = HEAVY - {"sklearn", "scipy"} | {"pytorch_lightning", "transformers", "matplotlib"}
FRAMEWORKS |= {"mlflow", "flwr", "tensorboard"}

# Whose file is not called as the framework is.
HOMES = {"pytorch_lightning": "lightning", "transformers": "huggingface", "flwr": "flower"}

# From the ground up: a room may import what stands on its floor or below, never what stands above.
FLOORS = (
    ("errors", "io"),
    ("weights", "stopping", "plots"),
    ("features",),
    ("predictor", "zoo"),
    ("callbacks", "integrations", "evaluation", "zoo_training", "__init__"),
    ("cli",),
    ("__main__",),
)


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running some code."""
    report = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imported_names(tree: ast.Module, at_import_time: bool) -> set[str]:
    """Dotted names that a module imports; at import time, those for type checkers are left out."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if at_import_time and is_type_checking(node):
            return
        if at_import_time and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that they can be read alone"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def own_imports(module: str, at_import_time: bool) -> set[str]:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return {name for name in imported_names(tree, at_import_time) if name in MODULES} - {module}


def floor_of(module: str) -> int:
    part = module.split(".")[1] if "." in module else None
    return next(i for i, rooms in enumerate(FLOORS) if (part or "__init__") in rooms)


@pytest.mark.parametrize(
    "code",
    [
        "import accuracy_from_weights",
        "import accuracy_from_weights.cli",
        "import accuracy_from_weights.stopping",
        "from accuracy_from_weights.cli import main\n"
        "try:\n    main.main(['--help'])\nexcept SystemExit:\n    pass",
    ],
)
def test_nothing_heavy_comes_in(code: str) -> None:
    assert not modules_after(code) & HEAVY


def test_the_public_names_bring_in_no_framework() -> None:
    # pandas is for scikit-learn to decide on.
    code = "from accuracy_from_weights import *"
    assert not modules_after(code) & FRAMEWORKS - {"pandas"}


@pytest.mark.parametrize("module", MODULES)
def test_no_import_goes_up(module: str) -> None:
    for other in own_imports(module, at_import_time=False):
        if "." in other:  # the package's own public names load lazily
            assert floor_of(other) <= floor_of(module), f"{module} imports {other}"


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def test_no_rooms_stand_in_a_circle() -> None:
    """Imports for type checkers and imports inside functions count, too."""
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        others = {room_of(o) for o in own_imports(module, at_import_time=False) if "." in o}
        graph.setdefault(room_of(module), set()).update(others - {room_of(module)})
    assert circles(graph) == []


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Return the circles that a walk of the graph meets, each as a path."""
    found: list[str] = []
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append(" -> ".join((*path, name)))
        elif name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    return found


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports for type checkers and imports inside functions count, too."""
    graph = {
        # A package holds its modules: that they name it is no circle.
        name: {o for o in own_imports(name, at_import_time=False) if not name.startswith(f"{o}.")}
        for name in MODULES
    }
    assert circles(graph) == []


def test_frameworks_come_in_where_they_are_named() -> None:
    for name, file in MODULES.items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        tops = {found.partition(".")[0] for found in imported_names(tree, at_import_time=True)}
        for framework in tops & FRAMEWORKS:
            stem = HOMES.get(framework, framework)
            assert stem in file.stem, f"{name} imports {framework} when it is itself imported"
