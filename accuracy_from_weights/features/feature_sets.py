"""What a predictor may read: weights; also answers to synthetic inputs; also the training log."""

from __future__ import annotations

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.features.probes.answers import PROBE_NAMES

FEATURE_SETS = ("weights", "weights+probes", "weights+probes+log")

LOG_NAMES = ("accuracy", "loss", "samples")
"""What a training loop knows: fraction in [0, 1], nats, and how many samples an epoch holds."""


def feature_names(features: str = "weights") -> tuple[str, ...]:
    """Name the columns that a choice of features has.

    Parameters
    ----------
    features : {"weights", "weights+probes", "weights+probes+log"}

    Raises
    ------
    ZooError
        When there is no such choice.
    """
    if features not in FEATURE_SETS:
        raise ZooError(f"Expected features to be one of {FEATURE_SETS}. Received: {features!r}.")
    names = FEATURE_NAMES
    if "probes" in features:
        names += tuple(f"probes.{name}" for name in PROBE_NAMES)
    if "log" in features:
        names += tuple(f"log.{name}" for name in LOG_NAMES)
    return names
