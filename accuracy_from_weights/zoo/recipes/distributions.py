"""Common parts of all distributions of recipes: random streams, TOML."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import numpy as np

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe


class RecipeDistribution(Protocol):
    """Something that recipes are drawn from."""

    @property
    def family(self) -> str:
        """Name of the distribution."""
        ...

    def draw(self, index: int, seed: int, facts: Any) -> NetworkRecipe:
        """Draw recipe number ``index``; depends on nothing but the arguments.

        ``facts`` are what is known of a data set, `DataFacts`, or for the universe the function
        that says what is known of a task.
        """
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON or TOML."""
        ...


D = TypeVar("D")


def generator_for(family: str, index: int, seed: int, dataset: str) -> np.random.Generator:
    """Random numbers for one recipe, independent of those of all other recipes."""
    names = int.from_bytes(f"{family}/{dataset}".encode(), "little")
    return np.random.default_rng(np.random.SeedSequence([seed, index, names]))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def distribution_to_dict(distribution: Any) -> dict[str, Any]:
    """Return plain values of a distribution, its family first."""
    values = {"family": distribution.family}
    for f in dataclasses.fields(distribution):
        value = getattr(distribution, f.name)
        values[f.name] = list(value) if isinstance(value, tuple) else value
    return values


def distribution_from_dict(cls: type[D], values: Mapping[str, Any]) -> D:
    """Build a distribution from plain values; those not given keep their defaults.

    Raises
    ------
    ZooError
        When a value is unknown or of another type.
    """
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "family"}
    fields = sorted(f.name for f in dataclasses.fields(cls))  # type: ignore[arg-type]  # D is always a dataclass
    unknown = sorted(set(given) - set(fields))
    if unknown:
        raise ZooError(f"A recipe has no values {unknown}; it has {fields}.")
    for name, value in given.items():
        default = getattr(cls, name)
        if not _is_alike(value, default):
            raise ZooError(f"{name} is {value!r}, and it must be of the type of {default!r}.")
    return cls(**given)


def _is_alike(value: Any, default: Any) -> bool:
    """Return whether a value has a default's type; a whole number serves where any number does."""
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(_is_alike(item, default[0]) for item in value)
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))
