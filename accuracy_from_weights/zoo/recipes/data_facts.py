"""Facts of a data set that recipes depend on: its name, its inputs and numbers of examples."""

from __future__ import annotations

from dataclasses import dataclass

from accuracy_from_weights.zoo.recipes.architecture import InputForm


@dataclass(frozen=True)
class DataFacts:
    """What a recipe may depend on of a data set: never the examples themselves.

    Attributes
    ----------
    name : str
    form : InputForm
        Of the inputs; images are square.
    n_classes : int
    n_train, n_test : int
        Examples there are to train on and to test on.
    universe_seed, universe_version : int or None, default None
        Of a task of the universe, see `Task`.
    """

    name: str
    form: InputForm
    n_classes: int
    n_train: int
    n_test: int
    universe_seed: int | None = None
    universe_version: int | None = None
