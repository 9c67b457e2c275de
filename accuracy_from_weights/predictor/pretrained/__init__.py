"""The predictor that ships with the package."""

from __future__ import annotations

import os
from pathlib import Path

from accuracy_from_weights.features.feature_sets import check_feature_set
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor

FOLDER = Path(__file__).parent


def shipped_file(features: str = "weights") -> Path:
    """Name the file of the predictor that ships for a choice of features."""
    return FOLDER / f"{features.replace('+', '_')}.predictor"


def load_predictor(
    path: str | os.PathLike[str] | None = None, features: str = "weights"
) -> AccuracyPredictor:
    """Load a predictor.

    Parameters
    ----------
    path : str or path-like, optional
        A file that `AccuracyPredictor.save` wrote. Defaults to the predictor that ships; its
        ``card_`` says which networks it was fitted on and how well it does.
    features : {"weights", "weights+probes", "weights+probes+log"}, default "weights"
        Which of the predictors that ship: what it reads of a network. Not looked at when a path
        is given.

    Returns
    -------
    AccuracyPredictor

    Raises
    ------
    InvalidArgumentError
        When there is no such choice of features.
    UnreadableFileError
        When the file cannot be read as a predictor.
    """
    check_feature_set(features)
    return AccuracyPredictor.load(shipped_file(features) if path is None else path)
