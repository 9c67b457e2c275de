"""The predictor that ships with the package."""

from __future__ import annotations

import os
from pathlib import Path

from accuracy_from_weights.predictor import AccuracyPredictor

SHIPPED = Path(__file__).with_name("weights.predictor")


def load_predictor(path: str | os.PathLike[str] | None = None) -> AccuracyPredictor:
    """Load a predictor.

    Parameters
    ----------
    path : str or path-like, optional
        A file that `AccuracyPredictor.save` wrote. Defaults to the predictor that ships, which was
        fitted on small convolutional networks; its ``card_`` says on which and how well it does.

    Returns
    -------
    AccuracyPredictor

    Raises
    ------
    UnreadableFileError
        When the file cannot be read as a predictor.
    """
    return AccuracyPredictor.load(SHIPPED if path is None else path)
