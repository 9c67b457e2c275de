"""Errors of estimates grouped into bands of accuracy, of epochs or of family p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_MOST_EPOCHS = 12
_EPOCH_BANDS = 10


@dataclass(frozen=True)
class Band:
    """Errors (estimate minus truth, in units of accuracy) of the networks in one band.

    Attributes
    ----------
    label : str
    n_rows : int
        At least 1.
    mean_absolute_error : float
    quantiles : tuple of 5 floats
        The 5, 25, 50, 75 and 95% quantiles of the signed error.
    """

    label: str
    n_rows: int
    mean_absolute_error: float
    quantiles: tuple[float, ...]


def by_accuracy(truth: ArrayLike, errors: ArrayLike) -> list[Band]:
    """Return bands of a tenth of true accuracy; empty ones are left out.

    Parameters
    ----------
    truth : array_like of shape (n,)
        Fractions in [0, 1].
    errors : array_like of shape (n,)
        Estimate minus truth.
    """
    t = np.asarray(truth, dtype=np.float64)
    # A perfect network belongs to the last band. The tolerance keeps 0.3 in the band from 0.3 on.
    band = np.minimum((t * 10 + 1e-9).astype(int), 9)
    return _bands(band, [f"{10 * k}-{10 * k + 10}%" for k in range(10)], errors)


def by_epoch(steps: ArrayLike, errors: ArrayLike) -> list[Band]:
    """Return one band for each epoch, or ten bands of equal size where epochs are many.

    Parameters
    ----------
    steps : array_like of shape (n,)
        Epochs trained.
    errors : array_like of shape (n,)
        Estimate minus truth.
    """
    s = np.asarray(steps, dtype=np.float64)
    epochs = np.unique(s)
    if len(epochs) <= _MOST_EPOCHS:
        band = np.searchsorted(epochs, s)
        return _bands(band, [f"{epoch:g}" for epoch in epochs], errors)
    starts = np.unique(np.quantile(s, np.arange(_EPOCH_BANDS) / _EPOCH_BANDS, method="lower"))
    band = np.searchsorted(starts, s, side="right") - 1
    ends = [s[band == k].max() for k in range(len(starts))]
    labels = [
        f"{start:g}" if start == end else f"{start:g}-{end:g}"
        for start, end in zip(starts, ends, strict=True)
    ]
    return _bands(band, labels, errors)


def by_p_value(p_values: ArrayLike, in_family: ArrayLike, errors: ArrayLike) -> list[Band]:
    """Return bands of family p-values, the networks outside the family first.

    Parameters
    ----------
    p_values : array_like of shape (n,)
        In (0, 1].
    in_family : array_like of shape (n,)
        Booleans.
    errors : array_like of shape (n,)
        Estimate minus truth.
    """
    band = 1 + np.searchsorted((0.05, 0.2, 0.5), np.asarray(p_values, np.float64), side="right")
    band = np.where(np.asarray(in_family, bool), band, 0)
    return _bands(band, ["outside", "under 5%", "5-20%", "20-50%", "50-100%"], errors)


def _bands(band: NDArray[np.intp], labels: Sequence[str], errors: ArrayLike) -> list[Band]:
    e = np.asarray(errors, dtype=np.float64)
    return [
        Band(
            label,
            inside.size,
            float(np.mean(np.abs(inside))),
            tuple(np.quantile(inside, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()),
        )
        for k, label in enumerate(labels)
        if (inside := e[band == k]).size
    ]
