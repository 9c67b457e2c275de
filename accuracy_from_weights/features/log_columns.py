"""The training log as columns of a network's row."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accuracy_from_weights.errors import InvalidArgumentError
from accuracy_from_weights.features.feature_sets import LOG_NAMES

_ACCURACY = (
    "accuracy",
    "acc",
    "sparse_categorical_accuracy",
    "categorical_accuracy",
    "binary_accuracy",
    "multiclass_accuracy",
)
LOG_SPELLINGS: dict[str, tuple[str, ...]] = {
    "accuracy": _ACCURACY,
    "loss": ("loss",),
    "samples": ("samples", "n_samples", "num_samples", "n_train", "num_train"),
}
"""How each of `LOG_NAMES` may be spelt, after one of `TRAINING_PREFIXES`."""
TRAINING_PREFIXES = ("train_", "training_", "")
_OTHER_DATA = ("val", "test", "eval")

_LARGEST_LOSS = 50.0
"""In nats. A diverging network's loss may be any number, which says no more than this one does."""
_USUAL_SAMPLES = 1_000


def plain_spelling(name: str) -> str:
    """Return a logged name in lower case with underscores: ``train/Acc`` becomes ``train_acc``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_").removesuffix("_epoch")


def read_log(log: Mapping[str, float]) -> dict[str, float]:
    """Return what a training loop reported under the names of `LOG_NAMES`.

    Parameters
    ----------
    log : mapping of str to float
        By any of `LOG_SPELLINGS`, with or without a prefix of `TRAINING_PREFIXES`.

    Returns
    -------
    dict of str to float

    Raises
    ------
    InvalidArgumentError
        When a name is none of these, or two names mean the same.

    Examples
    --------
    >>> read_log({"train_acc": 0.9, "loss": 0.3})
    {'accuracy': 0.9, 'loss': 0.3}
    """
    found: dict[str, str] = {}
    for name in log:
        meaning = _MEANINGS.get(plain_spelling(str(name)))
        if meaning is None:
            alike = difflib.get_close_matches(plain_spelling(str(name)), _MEANINGS, n=1)
            is_other = plain_spelling(str(name)).startswith(_OTHER_DATA)
            advice = f"did you mean {alike[0]!r}? " if alike and not is_other else ""
            raise InvalidArgumentError(
                f"The log holds {name!r}, which is no number that a predictor reads; {advice}"
                "Pass 'accuracy', 'loss' and 'samples', all of the training data."
            )
        if meaning in found:
            raise InvalidArgumentError(
                f"The log holds {found[meaning]!r} and {name!r}, which mean the same; pass one."
            )
        found[meaning] = name
    return {meaning: float(log[name]) for meaning, name in found.items()}


_MEANINGS = {
    prefix + spelling: meaning
    for meaning, spellings in LOG_SPELLINGS.items()
    for prefix in TRAINING_PREFIXES
    for spelling in spellings
}


def log_row(log: Mapping[str, float] | None) -> NDArray[np.float32]:
    """Return what a training loop reported as one row of the columns `LOG_NAMES`.

    Parameters
    ----------
    log : mapping of str to float, or None
        ``accuracy``, a fraction in [0, 1], ``loss``, in nats, and ``samples``, the number of
        training samples; see `read_log` for other spellings.

    Returns
    -------
    ndarray of shape (1, 3), float32
        NaN for what the log lacks.

    Raises
    ------
    InvalidArgumentError
        When there is no log, a name in it is not known, its accuracy is no fraction, or its number
        of samples is below 1.
    """
    if log is None:
        raise InvalidArgumentError(
            "log=None, but this predictor reads the training log; pass log={'accuracy': fraction, "
            "'loss': nats, 'samples': number}, or use a predictor with features='weights+probes'."
        )
    known = read_log(log)
    numbers = np.array([[known.get(name, np.nan) for name in LOG_NAMES]], np.float32)
    accuracy, _, samples = numbers[0]
    if not (np.isnan(accuracy) or 0 <= accuracy <= 1):
        raise InvalidArgumentError(
            f"The log's accuracy, {accuracy:g}, is no fraction in [0, 1]; divide percentages by "
            "100."
        )
    if samples < 1:
        raise InvalidArgumentError(
            f"The log's number of training samples, {samples:g}, is below 1; leave it out where "
            "it is not known."
        )
    return numbers


def log_columns(
    accuracy: ArrayLike, loss: ArrayLike, samples: ArrayLike | None
) -> NDArray[np.float32]:
    """Return what training loops reported of many networks as the columns `LOG_NAMES`.

    Parameters
    ----------
    accuracy, loss : array-like of shape (n,)
    samples : array-like of shape (n,), or None
        None, or an array without numbers, where it is not known.

    Returns
    -------
    ndarray of shape (n, 3), float32
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
        Names of the columns; rows without a log stay as they are.

    Returns
    -------
    ndarray of the same shape
        A missing accuracy becomes that of guessing among the network's outputs, a missing loss
        that of an even answer, as before the first epoch ends; a missing number of samples becomes
        a thousand. The loss is cut at 50 nats; the number of samples is its logarithm to base 10.
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
    rows[:, place["samples"]] = np.log10(np.maximum(rows[:, place["samples"]], 1))
    return rows


def first_guess(rows: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the training accuracies, the first guesses of a predictor that knows them.

    The accuracy on a training sample goes before the logged one: it was measured after the epoch
    and without dropout, whatever a loop reports.

    Parameters
    ----------
    rows : ndarray of shape (n_networks, n_features)
        See `complete_log`.
    names : sequence of str
        Names of the columns.

    Returns
    -------
    ndarray of shape (n_networks,)
        Fractions; zeros where neither is among the columns.
    """
    for name in ("sample.accuracy", "log.accuracy"):
        if name in names:
            return np.clip(rows[:, names.index(name)].astype(np.float64), 0, 1)
    return np.zeros(len(rows))
