"""What a recipe may know of a data set: its name, sizes and numbers of examples."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataFacts:
    """What a recipe may depend on of the images: never the images themselves.

    Attributes
    ----------
    name : str
    channels : int
    size : int
        Height of the images in pixels; images are square.
    n_classes : int
    n_train, n_test : int
        Images there are to train on and to test on.
    """

    name: str
    channels: int
    size: int
    n_classes: int
    n_train: int
    n_test: int
