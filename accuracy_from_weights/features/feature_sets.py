"""The feature sets that a predictor can read: weights, probes, log, answers on a sample."""

from __future__ import annotations

from typing import Any

from accuracy_from_weights.errors import invalid_argument
from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.features.probes.answers import PROBE_NAMES
from accuracy_from_weights.features.training_sample.answers import SAMPLE_NAMES

FEATURE_SETS = (
    "weights",
    "weights+probes",
    "weights+probes+log",
    "weights+probes+log+sample",
)

LOG_NAMES = ("accuracy", "loss", "samples")
"""What a training loop knows: fraction in [0, 1], nats, and the number of training samples."""

GRAPH_NAMES = ("graph.is_chain", "graph.is_rectified")
"""What is known of a network's graph, 0 or 1: the last columns of a row, which no predictor is
fitted to. Without them a network's condition is not certain."""


def check_feature_set(feature_set: Any) -> str:
    """Return `feature_set`, or raise `InvalidArgumentError` when it is not in `FEATURE_SETS`."""
    if feature_set not in FEATURE_SETS:
        raise invalid_argument("features", feature_set, f"one of {FEATURE_SETS}")
    return str(feature_set)


def feature_names(feature_set: str = "weights") -> tuple[str, ...]:
    """Return the names of a feature set's columns.

    Parameters
    ----------
    feature_set : str, default "weights"
        One of `FEATURE_SETS`.

    Raises
    ------
    InvalidArgumentError
        When there is no such feature set.
    """
    check_feature_set(feature_set)
    names = FEATURE_NAMES
    if "probes" in feature_set:
        names += tuple(f"probes.{name}" for name in PROBE_NAMES)
    if "log" in feature_set:
        names += tuple(f"log.{name}" for name in LOG_NAMES)
    if "sample" in feature_set:
        names += tuple(f"sample.{name}" for name in SAMPLE_NAMES)
    return names
