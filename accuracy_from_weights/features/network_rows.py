"""One network as a row of the columns that a predictor reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accuracy_from_weights.errors import InvalidArgumentError
from accuracy_from_weights.features.description import describe
from accuracy_from_weights.features.feature_sets import LOG_NAMES
from accuracy_from_weights.weights import read_weights

_LARGEST_LOSS = 50.0
"""Nats: a diverging network's loss may be any number, which says no more than this one does."""
_USUAL_SAMPLES = 1_000


def row_of(
    source: Any,
    features: str,
    input_shape: Sequence[int] | None = None,
    log: Mapping[str, float] | None = None,
) -> NDArray[np.float32]:
    """Describe one network by what a choice of features reads of it.

    Parameters
    ----------
    source : model, state dict, mapping of arrays, or path
        Whatever `read_weights` takes; with probes, a model that can be called.
    features : {"weights", "weights+probes", "weights+probes+log"}
    input_shape : sequence of int, optional
        Of one input, without the batch axis; see `probes.probe`.
    log : mapping of str to float, optional
        What the training loop reported of its last epoch: ``accuracy``, a fraction, ``loss``, nats,
        and ``samples``, on how many it trains.

    Returns
    -------
    ndarray of shape (1, n_features)
        Columns as in `features.sets.feature_names`. What the log lacks is NaN.

    Raises
    ------
    InvalidArgumentError
        When the log is needed and missing, its accuracy no fraction, or its samples below 1.
    UnsupportedModelError, UnreadableFileError
        As `read_weights` and `probe`.
    """
    parts = [describe(read_weights(source))]
    if "probes" in features:
        from accuracy_from_weights.features.probes import probe

        parts.append(probe(source, input_shape)[None])
    if "log" in features:
        parts.append(_log_row(log))
    return np.concatenate(parts, axis=1)


def _log_row(log: Mapping[str, float] | None) -> NDArray[np.float32]:
    if log is None:
        raise InvalidArgumentError(
            "Expected what the training loop reported, log={'accuracy': fraction, 'loss': nats, "
            "'samples': number}, which this predictor reads beside the weights. Received: "
            "log=None. Pass it, or use a predictor with features='weights+probes'."
        )
    numbers = np.array([[log.get(name, np.nan) for name in LOG_NAMES]], np.float32)
    accuracy, _, samples = numbers[0]
    if not (np.isnan(accuracy) or 0 <= accuracy <= 1):
        raise InvalidArgumentError(
            f"Expected the log's accuracy as a fraction in [0, 1]. Received: {accuracy:g}. "
            "Divide percentages by 100."
        )
    if samples < 1:
        raise InvalidArgumentError(
            "Expected the log's samples as the number of samples that the network is trained on. "
            f"Received: {samples:g}. Leave it out where it is not known."
        )
    return numbers


def log_columns(
    accuracy: ArrayLike, loss: ArrayLike, samples: ArrayLike | None
) -> NDArray[np.float32]:
    """Put what training loops reported beside each other, as columns named by `LOG_NAMES`.

    Parameters
    ----------
    accuracy, loss : array-like of shape (n,)
    samples : array-like of shape (n,), or None
        None, or what is no number, where it is not known.

    Returns
    -------
    ndarray of shape (n, 3)
        NaN for what is not known.
    """
    known = np.asarray(samples)
    if known.dtype.kind not in "fiu":
        known = np.full(np.shape(accuracy), np.nan)
    return np.stack([np.asarray(accuracy), np.asarray(loss), known], axis=1).astype(np.float32)


def complete_log(rows: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float32]:
    """Fill in what the log lacks, and bring it to scales on which differences count alike.

    Parameters
    ----------
    rows : ndarray of shape (n_networks, n_features)
    names : sequence of str
        Of the columns; where the log is not among them, the rows stay as they are.

    Returns
    -------
    ndarray of the same shape
        A missing accuracy is that of guessing among the network's outputs, a missing loss that
        of an even answer, as before the first epoch ends; a missing number of samples is a
        thousand. The loss is cut at 50 nats, the number of samples is its logarithm to base 10.
    """
    place = {
        name.removeprefix("log."): k for k, name in enumerate(names) if name.startswith("log.")
    }
    if not place:
        return rows
    rows = rows.copy()
    even = np.maximum(rows[:, names.index("architecture.log_outputs")], np.log(2))
    usual = np.full_like(even, _USUAL_SAMPLES)
    guesses = {"accuracy": np.exp(-even), "loss": even, "samples": usual}
    for name, column in place.items():
        missing = ~np.isfinite(rows[:, column])
        rows[missing, column] = guesses[name][missing]
    rows[:, place["loss"]] = np.minimum(rows[:, place["loss"]], _LARGEST_LOSS)
    if "samples" in place:  # predictors of earlier releases do without
        rows[:, place["samples"]] = np.log10(np.maximum(rows[:, place["samples"]], 1))
    return rows


def logged_accuracy(rows: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float64]:
    """Give the training accuracy, from which a predictor that reads it starts.

    Parameters
    ----------
    rows : ndarray of shape (n_networks, n_features)
        See `complete_log`.
    names : sequence of str
        Of the columns.

    Returns
    -------
    ndarray of shape (n_networks,)
        Fractions; zeros where the log is not among the columns.
    """
    if "log.accuracy" not in names:
        return np.zeros(len(rows))
    return np.clip(rows[:, names.index("log.accuracy")].astype(np.float64), 0, 1)
