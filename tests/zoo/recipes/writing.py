"""Recipes as the TOML files that users write."""

from __future__ import annotations

import json

from accuracy_from_weights.zoo.recipes.distributions import RecipeDistribution


def as_toml(recipe: RecipeDistribution) -> str:
    """Numbers, strings and lists of them look the same in JSON and in TOML."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in recipe.to_dict().items())
