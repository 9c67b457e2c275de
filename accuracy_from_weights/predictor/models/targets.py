"""What a model is fitted to: an accuracy's logit, or how far it is from a first guess.

Logits stretch the ends, where good networks differ by less and less, so that errors count as ranks
do; a gap of nothing is the safest answer where nothing is known, and an accuracy that was measured
on the training data is a good guess already. Models of both kinds averaged are better than either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]

LOGIT, GAP = "logit", "gap"
TARGETS = (LOGIT, GAP)

_MARGIN = 0.005
"""Accuracies nearer to 0 or 1 have the logit of this: no test set tells them apart."""


def target_of(accuracies: Floats, guess: Floats, target: str) -> Floats:
    """Turn accuracies into what a model is fitted to.

    Parameters
    ----------
    accuracies, guess : ndarray of shape (n,)
        Fractions; guesses of zero where there is none.
    target : {"logit", "gap"}

    Returns
    -------
    ndarray of shape (n,)
    """
    if target == LOGIT:
        return np.asarray(logit(np.clip(accuracies, _MARGIN, 1 - _MARGIN)), np.float64)
    return accuracies - guess


def accuracy_of(answers: Floats, guess: Floats, target: str) -> Floats:
    """Turn a model's answers back into accuracies.

    Parameters
    ----------
    answers, guess : ndarray of shape (n,)
    target : {"logit", "gap"}

    Returns
    -------
    ndarray of shape (n,)
        Fractions in [0, 1].
    """
    if target == LOGIT:
        return np.asarray(expit(answers), np.float64)
    return np.clip(answers + guess, 0, 1)
