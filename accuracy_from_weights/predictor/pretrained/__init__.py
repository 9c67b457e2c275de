"""The predictors that ship with the package, one for each of some feature sets."""

from __future__ import annotations

import os
from pathlib import Path

from accuracy_from_weights.errors import InvalidArgumentError
from accuracy_from_weights.features.feature_sets import FEATURE_SETS, check_feature_set
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor

FOLDER = Path(__file__).parent


def shipped_file(features: str = "weights") -> Path:
    """Return the file of the predictor that ships for a feature set."""
    return FOLDER / f"{features.replace('+', '_')}.predictor"


def shipped_feature_sets() -> tuple[str, ...]:
    """Return the feature sets for which a predictor ships."""
    return tuple(features for features in FEATURE_SETS if shipped_file(features).is_file())


def load_predictor(
    path: str | os.PathLike[str] | None = None, features: str = "weights"
) -> AccuracyPredictor:
    """Load a predictor.

    Parameters
    ----------
    path : str or path-like, optional
        A file that `AccuracyPredictor.save` wrote. Defaults to the predictor that ships; its
        ``card_`` says which networks it was fitted on and how well it does.
    features : str, default "weights"
        Which of the predictors that ship: what it reads of a network, one of
        `features.feature_sets.FEATURE_SETS`. Not looked at when a path is given.

    Returns
    -------
    AccuracyPredictor

    Raises
    ------
    InvalidArgumentError
        When there is no such choice of features, or no predictor for it ships.
    UnreadableFileError
        When the file cannot be read as a predictor.
    """
    check_feature_set(features)
    if path is None and features not in shipped_feature_sets():
        raise InvalidArgumentError(
            f"No predictor for features={features!r} ships with the package; fit one with "
            "`accuracy-from-weights retrain --from-scratch` and pass its path."
        )
    return AccuracyPredictor.load(shipped_file(features) if path is None else path)
