"""How hard a task is made, so that good networks come out anywhere between chance and perfect.

The aim is drawn first: an accuracy above chance, (accuracy - 1/C) / (1 - 1/C) for C classes, evenly
between 0 and 1. What each family answers to its ease was measured by training networks
(``benchmarks/universe_difficulty.py``) and is written down here; it is solved for the ease.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Response:
    """How accurate learners are on a family's tasks: a sum that is the logit of their skill.

    Skill counts from naming the largest class always, 0, to perfection, 1.

    Attributes
    ----------
    intercept : float
    ease : float
        By the family's ease, in [0, 1].
    classes : float
        By log2 of the number of classes.
    examples : float
        By log2 of the number of training examples for each class.
    """

    intercept: float
    ease: float
    classes: float
    examples: float


RESPONSES: dict[str, Response] = {
    "strokes": Response(-5.75, 6.44, -0.33, 0.23),
    "blobs": Response(-6.14, 7.25, -0.24, 0.36),
    "shapes": Response(-1.83, 3.43, -0.35, 0.16),
    "parts": Response(-6.59, 9.57, -0.37, 0.14),
    "gratings": Response(-6.28, 9.49, -0.36, 0.13),
    "fields": Response(-6.43, 8.71, -0.30, 0.15),
    "textures": Response(-2.70, 6.73, -0.35, 0.05),
    "prototypes": Response(-7.88, 14.19, -0.38, 0.29),
    "manifolds": Response(-6.82, 10.66, -0.33, 0.16),
    "teachers": Response(-3.64, 5.32, -0.37, 0.14),
    "mixture": Response(-5.11, 7.17, -0.46, 0.34),
    "sheets": Response(-1.38, 4.08, -0.23, 0.01),
    "trees": Response(-4.39, 4.94, -0.46, 0.33),
    "networks": Response(-3.83, 6.92, -0.38, 0.23),
    "sums": Response(-3.98, 4.66, -0.40, 0.25),
    "cells": Response(-4.68, 6.15, -0.43, 0.31),
    "topics": Response(-10.72, 16.73, -0.28, 0.19),
    "markov": Response(-8.33, 11.70, -0.32, 0.23),
    "motifs": Response(-5.13, 6.83, -0.15, 0.09),
    "templates": Response(-6.83, 8.57, -0.10, 0.17),
    "counting": Response(-4.43, 5.14, -0.32, 0.24),
    "order": Response(-9.14, 8.05, -0.22, 0.15),
    "tones": Response(-9.19, 11.82, -0.20, 0.13),
    "chirps": Response(-7.40, 10.60, -0.33, 0.17),
    "events": Response(-6.59, 8.31, -0.34, 0.25),
    "autoregressive": Response(-6.19, 7.45, -0.31, 0.13),
    "waveforms": Response(-7.44, 13.49, -0.17, 0.03),
    "echoes": Response(-3.97, 4.67, -0.21, 0.12),
}


def ease_for(
    family: str, aim: float, n_classes: int, n_train: int, largest_share: float = 0.0
) -> float:
    """Return the ease at which trained networks should reach an accuracy above chance.

    Parameters
    ----------
    family : str
    aim : float
        Accuracy above chance, in [0, 1].
    n_classes, n_train : int
    largest_share : float, default 0.0
        Share of the largest class: naming it always is where accuracies start.
    """
    start = max(0.0, above_chance(largest_share, n_classes))
    aim = min(max((aim - start) / (1.0 - start), 0.01), 0.99)
    response = RESPONSES[family]
    wanted = (
        math.log(aim / (1.0 - aim))
        - response.intercept
        - response.classes * math.log2(n_classes)
        - response.examples * math.log2(n_train / n_classes)
    )
    return min(max(wanted / response.ease, 0.0), 1.0)


def above_chance(accuracy: float, n_classes: int) -> float:
    """Return accuracy on a scale where guessing evenly is 0 and perfection 1."""
    return (accuracy - 1.0 / n_classes) / (1.0 - 1.0 / n_classes)
