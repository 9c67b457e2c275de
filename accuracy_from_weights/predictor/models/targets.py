"""Targets of a model: the accuracy's logit, or its distance from a first guess (the gap).

Logits stretch the ends of the scale, where good networks differ by less and less. A gap of 0 is the
safest answer where nothing is known, and a training accuracy is a good first guess. The mean of
models of both kinds is better than either. Where the guess is a predictor's estimate, the gap
between the logits is better still.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]

LOGIT, GAP, LOGIT_GAP = "logit", "gap", "logit gap"
TARGETS = (LOGIT, GAP, LOGIT_GAP)

_MARGIN = 0.005
"""Accuracies nearer to 0 or 1 have the logit of this: no test set tells them apart."""


def target_of(accuracies: Floats, guess: Floats, target: str) -> Floats:
    """Turn accuracies into a model's targets; guesses are 0 where there is none."""
    if target == LOGIT:
        return _logit(accuracies)
    if target == LOGIT_GAP:
        return _logit(accuracies) - _logit(guess)
    return accuracies - guess


def accuracy_of(answers: Floats, guess: Floats, target: str) -> Floats:
    """Turn a model's answers back into accuracies, fractions in [0, 1]."""
    if target == LOGIT:
        return np.asarray(expit(answers), np.float64)
    if target == LOGIT_GAP:
        return np.asarray(expit(answers + _logit(guess)), np.float64)
    return np.clip(answers + guess, 0, 1)


def _logit(fractions: Floats) -> Floats:
    return np.asarray(logit(np.clip(fractions, _MARGIN, 1 - _MARGIN)), np.float64)
