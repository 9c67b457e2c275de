"""Concatenate the columns of several tables, also where some lack a column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.zoo.packing import Column


def join_matrices(
    matrices: Sequence[NDArray[np.float32] | None], lengths: Sequence[int]
) -> NDArray[np.float32] | None:
    """Join matrices with the same columns; NaN stands for a missing one, None for none at all.

    Parameters
    ----------
    matrices : sequence of ndarray of shape (lengths[i], d), or None
    lengths : sequence of int
    """
    widths = [matrix.shape[1] for matrix in matrices if matrix is not None]
    if not widths:
        return None
    return np.concatenate(
        [
            np.full((length, widths[0]), np.nan, np.float32) if matrix is None else matrix
            for matrix, length in zip(matrices, lengths, strict=True)
        ]
    )


def join_columns(columns: Sequence[Column | None], lengths: Sequence[int]) -> Column:
    """Join hyperparameters: strings when one holds strings (empty where missing), else numbers.

    Parameters
    ----------
    columns : sequence of ndarray of shape (lengths[i],), or None
    lengths : sequence of int
    """
    if any(column is not None and column.dtype.kind == "U" for column in columns):
        return np.concatenate(
            [
                np.full(length, "") if column is None else column.astype(str)
                for column, length in zip(columns, lengths, strict=True)
            ]
        )
    return np.concatenate(
        [
            np.full(length, np.nan) if column is None else column.astype(np.float64)
            for column, length in zip(columns, lengths, strict=True)
        ]
    )


def tell_runs_apart(
    runs: Sequence[NDArray[np.str_]], names: Sequence[str]
) -> list[NDArray[np.str_]]:
    """Prefix runs with their zoo's name where several zoos use the same run names.

    Parameters
    ----------
    runs : sequence of ndarray of str
        One array a zoo.
    names : sequence of str
        One a zoo.
    """
    seen: set[str] = set()
    for of_zoo in runs:
        own = set(np.unique(of_zoo).tolist())
        if own & seen:
            return [np.char.add(f"{n}/", r.astype(str)) for n, r in zip(names, runs, strict=True)]
        seen |= own
    return list(runs)
