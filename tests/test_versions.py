"""What is claimed of other packages' releases is what is tested."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
NOT_THE_OLDEST = {"torch"}
"""Its builds of that time bring CUDA, which no test machine should have to install."""


def claimed() -> dict[str, str]:
    """The oldest release of everything that the tests install, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    names = re.search(r"\[(.*)\]", extras["test"][0])[1].split(",")
    lines = [*project["dependencies"], *extras["test"][1:]]
    lines += [line for name in names for line in extras[name]]
    found = [re.match(r"([\w-]+)>=([\d.]+)", line).groups() for line in lines]
    return {name.replace("_", "-"): release for name, release in found}


def pinned() -> dict[str, str]:
    text = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w-]+)==([\d.]+)$", text, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(claimed()))
def test_the_oldest_release_that_is_claimed_is_tested(name: str) -> None:
    if name in NOT_THE_OLDEST or name == "tomli":
        return
    claim, pin = claimed()[name].split("."), pinned()[name].split(".")
    assert pin[: len(claim)] == claim
    assert not any(int(part) for part in pin[len(claim) :]), "an older one would satisfy the claim"
