"""One network as a row of the columns that a predictor reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights._arguments import InvalidArgumentError
from accuracy_from_weights.features.description import describe
from accuracy_from_weights.features.sets import LOG_NAMES
from accuracy_from_weights.weights import read_weights


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
        What the training loop reported of its last epoch: ``accuracy``, a fraction, and ``loss``,
        nats.

    Returns
    -------
    ndarray of shape (1, n_features)
        Columns as in `features.sets.feature_names`. What the log lacks is NaN.

    Raises
    ------
    InvalidArgumentError
        When the log is needed and missing, or its accuracy is no fraction.
    UnsupportedModelError, UnreadableFileError
        As `read_weights` and `probe`.
    """
    parts = [describe(read_weights(source))]
    if "probes" in features:
        from accuracy_from_weights.probes import probe

        parts.append(probe(source, input_shape)[None])
    if "log" in features:
        parts.append(_log_row(log))
    return np.concatenate(parts, axis=1)


def _log_row(log: Mapping[str, float] | None) -> NDArray[np.float32]:
    if log is None:
        raise InvalidArgumentError(
            "Expected what the training loop reported, log={'accuracy': fraction, 'loss': nats}, "
            "which this predictor reads beside the weights. Received: log=None. Pass it, or use a "
            "predictor with features='weights+probes'."
        )
    numbers = np.array([[log.get(name, np.nan) for name in LOG_NAMES]], np.float32)
    if not (np.isnan(numbers[0, 0]) or 0 <= numbers[0, 0] <= 1):
        raise InvalidArgumentError(
            f"Expected the log's accuracy as a fraction in [0, 1]. Received: {numbers[0, 0]:g}. "
            "Divide percentages by 100."
        )
    return numbers


def complete_log(rows: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float32]:
    """Fill in what the log lacks: before the first epoch ends, a network guesses.

    Parameters
    ----------
    rows : ndarray of shape (n_networks, n_features)
    names : sequence of str
        Of the columns; where the log is not among them, the rows stay as they are.

    Returns
    -------
    ndarray of the same shape
        A missing accuracy is that of guessing among the network's outputs, a missing loss that
        of an even answer.
    """
    if not names or names[-1] != f"log.{LOG_NAMES[-1]}":
        return rows
    rows = rows.copy()
    even = np.maximum(rows[:, list(names).index("architecture.log_outputs")], np.log(2))
    for column, guess in ((-2, np.exp(-even)), (-1, even)):
        missing = ~np.isfinite(rows[:, column])
        rows[missing, column] = guess[missing]
    return rows
