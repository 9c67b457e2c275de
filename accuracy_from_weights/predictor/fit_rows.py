"""What a predictor is given, checked: features or networks, accuracies, runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accuracy_from_weights.errors import InvalidArgumentError, ZooError
from accuracy_from_weights.features.describing import describe_network

FEWEST_RUNS = 10
"""Of fewer training runs no interval can be made, let alone a predictor."""


def as_features(
    X: ArrayLike | Sequence[Any], features: str, input_shape: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """Return the rows of an array as scikit-learn passes it, or of a sequence of networks.

    Parameters
    ----------
    X : array-like of shape (n_networks, n_features), or sequence of networks
        A network is anything that `read_weights` takes; with probes, a model that knows the shape
        of its inputs.
    features : {"weights", "weights+probes", "weights+probes+log"}
        What is read of networks.
    input_shape : sequence of int, optional
        See `describe_network`.

    Returns
    -------
    ndarray of shape (n_networks, n_features)

    Raises
    ------
    InvalidArgumentError
        When it is neither.
    """
    if hasattr(X, "__array__") or (isinstance(X, Sequence) and len(X) and _is_numbers(X[0])):
        rows = np.asarray(X, np.float32)
        if rows.ndim == 2:
            return rows
        received = f"an array of shape {rows.shape}"
    elif isinstance(X, Sequence) and not isinstance(X, str):
        if len(X):
            return np.concatenate(
                [describe_network(source, features, input_shape=input_shape) for source in X]
            )
        received = "an empty sequence"
    else:
        received = type(X).__name__
    raise InvalidArgumentError(
        "Expected an array of shape (n_networks, n_features) or a sequence of networks. "
        f"Received: {received}."
    )


def fitted_columns(
    rows: NDArray[np.float32], names: Sequence[str], fitted_names: Sequence[str], n_features: int
) -> NDArray[np.float32]:
    """Keep the columns that a predictor was fitted to.

    Parameters
    ----------
    rows : ndarray of shape (n_networks, k)
    names : sequence of str
        Of the columns that this release describes networks by.
    fitted_names : sequence of str
        Of the predictor's columns; none where they have no names.
    n_features : int
        Number of the predictor's columns.

    Returns
    -------
    ndarray of shape (n_networks, n_features)

    Raises
    ------
    InvalidArgumentError
        When the rows have another number of columns.
    """
    if fitted_names and rows.shape[1] == len(names) != n_features:
        # Fitted by an earlier release that described networks by fewer numbers.
        position = {name: k for k, name in enumerate(names)}
        return rows[:, [position[name] for name in fitted_names]]
    if rows.shape[1] != n_features:
        raise InvalidArgumentError(
            f"Expected {n_features} features a network. Received: an array of shape {rows.shape}."
        )
    return rows


def _is_numbers(row: Any) -> bool:
    return isinstance(row, Sequence) and all(isinstance(value, (int, float)) for value in row)


def finite_rows(features: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which rows are free of NaN and infinities; shape (n_networks,)."""
    return np.asarray(np.isfinite(features).all(axis=1), bool)


def check_zoo(
    features: NDArray[np.float32], accuracies: NDArray[np.float64], runs: NDArray[Any]
) -> None:
    """Check that a predictor can be fitted.

    Parameters
    ----------
    features : ndarray of shape (n_networks, n_features)
    accuracies : ndarray of shape (n_networks,)
        Fractions in [0, 1].
    runs : ndarray of shape (n_networks,)
        The training run of each network.

    Raises
    ------
    ZooError
        When lengths differ, an accuracy is no fraction, or there are too few runs.
    """
    if not len(features) == len(accuracies) == len(runs):
        raise ZooError(
            "Expected as many accuracies and runs as networks. Received: "
            f"{len(features)} networks, {len(accuracies)} accuracies, {len(runs)} runs."
        )
    if not ((accuracies >= 0) & (accuracies <= 1)).all():
        raise ZooError(
            "Expected accuracies as fractions in [0, 1], without NaN. Received: "
            f"{accuracies.min():.3g} to {accuracies.max():.3g}. Divide percentages by 100."
        )
    n_runs = len(np.unique(runs[finite_rows(features)]))
    if n_runs < FEWEST_RUNS:
        raise ZooError(
            f"Expected networks of at least {FEWEST_RUNS} training runs with finite weights, of "
            f"which a few hundred make a good predictor. Received: {n_runs}."
        )
