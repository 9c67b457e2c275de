"""Distributions of recipes by name, and as TOML files that people write and edit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from accuracy_from_weights.errors import UnreadableFileError, ZooError
from accuracy_from_weights.zoo.recipes.distributions import RecipeDistribution
from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo.recipes.universe import UniverseRecipe
from accuracy_from_weights.zoo.recipes.wild import WildRecipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FAMILIES: dict[str, type[RecipeDistribution]] = {
    kind.family: kind for kind in (PaperRecipe, UniverseRecipe, WildRecipe)
}


def load_recipe(name_or_path: str | Path) -> RecipeDistribution:
    """Load a distribution of recipes.

    Parameters
    ----------
    name_or_path : str or Path
        ``"paper"``, ``"wild"`` or ``"universe"`` with their defaults, or a TOML file with a line
        ``family = "paper"`` and those values that are to differ from the defaults.

    Raises
    ------
    UnreadableFileError
        When the file is missing or no TOML.
    ZooError
        When the family or a value is unknown or outside its range.
    """
    values: dict[str, Any] = {"family": str(name_or_path)}
    if values["family"] not in FAMILIES:
        path = Path(name_or_path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            # RecursionError: brackets within brackets within brackets
            raise UnreadableFileError(
                f"{path} is no recipe ({error}). Give {', '.join(FAMILIES)} or a TOML file."
            ) from error
    family = values.get("family")
    if not isinstance(family, str) or family not in FAMILIES:
        raise ZooError(
            f"The recipe names the family {family!r}, which is none of {', '.join(FAMILIES)}."
        )
    return FAMILIES[family].from_dict(values)
