"""How hard a task is made, so that good networks come out anywhere between chance and perfect.

The aim is drawn first: an accuracy above chance, (accuracy - 1/C) / (1 - 1/C) for C classes, evenly
between 0 and 1. What each family answers to its ease was measured with learners of fixed effort
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
    "strokes": Response(-5.49, 6.64, -0.31, 0.19),
    "blobs": Response(-5.41, 7.90, -0.31, 0.26),
    "parts": Response(-5.87, 8.97, -0.36, 0.11),
    "gratings": Response(-7.27, 11.19, -0.39, 0.11),
    "fields": Response(-6.12, 8.23, -0.25, 0.12),
    "textures": Response(-3.71, 6.60, -0.25, 0.16),
    "prototypes": Response(-6.27, 11.81, -0.32, 0.16),
    "manifolds": Response(-7.27, 10.85, -0.23, 0.14),
    "teachers": Response(-2.62, 3.46, -0.47, 0.26),
    "shapes": Response(-3.95, 4.45, -0.11, 0.16),
    "mixture": Response(-5.18, 6.23, -0.37, 0.38),
    "sheets": Response(-1.62, 5.75, -0.27, 0.00),
    "trees": Response(-2.12, 3.98, -0.48, 0.09),
    "networks": Response(-2.72, 6.16, -0.47, 0.21),
    "sums": Response(-3.13, 4.86, -0.69, 0.29),
    "cells": Response(-2.75, 3.65, -0.58, 0.26),
    "topics": Response(-9.05, 12.48, -0.33, 0.32),
    "markov": Response(-6.70, 8.58, -0.39, 0.29),
    "motifs": Response(-4.73, 5.83, -0.25, 0.15),
    "templates": Response(-5.49, 7.50, -0.11, 0.11),
    "counting": Response(-5.11, 5.37, -0.36, 0.30),
    "tones": Response(-6.05, 8.44, -0.24, 0.07),
    "chirps": Response(-7.34, 10.10, -0.35, 0.17),
    "events": Response(-6.53, 8.20, -0.47, 0.30),
    "autoregressive": Response(-6.92, 9.10, -0.24, 0.07),
    "waveforms": Response(-4.37, 9.65, -0.30, 0.00),
    "echoes": Response(-2.64, 3.51, -0.35, 0.06),
    "order": Response(-9.0, 10.5, -0.2, 0.15),
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
