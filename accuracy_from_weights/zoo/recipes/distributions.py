"""Common parts of all distributions of recipes: random streams, plain values."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe


@dataclass(frozen=True)
class RecipeDistribution(abc.ABC):
    """Something that recipes are drawn from; its fields have defaults and hold plain values."""

    family: ClassVar[str]
    """Name of the distribution."""

    @abc.abstractmethod
    def draw(self, index: int, seed: int, facts: Any) -> NetworkRecipe:
        """Draw recipe number ``index``; depends on nothing but the arguments.

        Parameters
        ----------
        index : int
            Which network of the zoo.
        seed : int
            The zoo's seed.
        facts : DataFacts or callable
            What is known of a data set; for the universe of tasks `UniverseData.facts`.
        """

    def generator(self, index: int, seed: int, purpose: str) -> np.random.Generator:
        """Return random numbers for one recipe, independent of those of all other recipes."""
        name = int.from_bytes(f"{self.family}/{purpose}".encode(), "little")
        return np.random.default_rng(np.random.SeedSequence([seed, index, name]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON or TOML, the family first."""
        values = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }
        return {"family": self.family, **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RecipeDistribution:
        """Turn the values of `to_dict` back; what is not given keeps its default.

        Raises
        ------
        ZooError
            When a value is unknown, of another type, or outside its range.
        """
        given = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
            if name != "family"
        }
        fields = sorted(f.name for f in dataclasses.fields(cls))
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


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
