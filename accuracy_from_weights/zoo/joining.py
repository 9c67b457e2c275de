"""Concatenate the columns of several tables, also where some lack a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.zoo.packing import Column


def join(columns: Sequence[Column | None], lengths: Sequence[int]) -> Any:
    """Join columns, or matrices of as many columns: texts where one holds texts, else numbers.

    For one that is missing stand ``lengths[i]`` times NaN, or empty texts; where all are missing,
    None is returned.
    """
    known = [column for column in columns if column is not None]
    if not known:
        return None
    are_texts = any(column.dtype.kind == "U" for column in known)
    dtype = np.dtype(str) if are_texts else np.result_type(np.float32, *known)
    return np.concatenate(
        [
            np.full((length, *known[0].shape[1:]), "" if are_texts else np.nan, dtype)
            if column is None
            else column.astype(dtype)
            for column, length in zip(columns, lengths, strict=True)
        ]
    )


def tell_runs_apart(
    runs: Sequence[NDArray[np.str_]], names: Sequence[str]
) -> list[NDArray[np.str_]]:
    """Prefix runs with their zoo's name where several zoos use the same run names."""
    seen: set[str] = set()
    for of_zoo in runs:
        own = set(np.unique(of_zoo).tolist())
        if own & seen:
            return [np.char.add(f"{n}/", r.astype(str)) for n, r in zip(names, runs, strict=True)]
        seen |= own
    return list(runs)
