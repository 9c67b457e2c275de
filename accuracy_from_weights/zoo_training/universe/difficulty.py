"""Difficulty of a task, drawn so that good networks end anywhere between chance and perfect.

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
    "strokes": Response(-7.71, 8.54, -0.27, 0.38),
    "blobs": Response(-5.71, 7.63, -0.36, 0.31),
    "parts": Response(-7.05, 10.21, -0.24, 0.13),
    "gratings": Response(-6.83, 10.94, -0.42, 0.09),
    "fields": Response(-6.16, 7.38, -0.40, 0.27),
    "textures": Response(-3.67, 6.58, -0.25, 0.15),
    "prototypes": Response(-7.83, 13.11, -0.33, 0.23),
    "manifolds": Response(-7.50, 11.04, -0.29, 0.17),
    "shapes": Response(-3.41, 5.30, -0.14, 0.06),
    "topics": Response(-8.57, 11.58, -0.34, 0.30),
    "markov": Response(-6.02, 8.84, -0.35, 0.18),
    "motifs": Response(-4.41, 5.89, -0.20, 0.11),
    "templates": Response(-4.37, 7.25, -0.18, 0.01),
    "tones": Response(-6.14, 8.75, -0.23, 0.05),
    "chirps": Response(-7.25, 9.99, -0.35, 0.17),
    "events": Response(-6.34, 8.16, -0.51, 0.31),
    "autoregressive": Response(-6.91, 8.98, -0.27, 0.09),
    "waveforms": Response(-4.57, 9.93, -0.29, 0.02),
    "mixture": Response(-3.38, 6.00, -0.17, 0.04),
    "sheets": Response(-0.00, 5.46, -0.44, -0.11),
    "trees": Response(-3.71, 4.07, -0.63, 0.29),
    "networks": Response(-4.58, 8.58, -0.47, 0.21),
    "sums": Response(-4.59, 6.25, -0.62, 0.27),
    "cells": Response(-3.80, 6.27, -0.68, 0.22),
    "counting": Response(-6.68, 9.60, -0.27, 0.17),
    "echoes": Response(-5.95, 6.26, -0.35, 0.25),
    "teachers": Response(-2.92, 4.56, -0.49, 0.23),
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
