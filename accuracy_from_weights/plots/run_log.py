"""Columns of a training run's log: Keras' History, a monitor's rows, or a CSV file."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from accuracy_from_weights.io.logged_names import SUFFIXES


def runs_of(history: Any) -> dict[str, Any] | None:
    """Return the runs of a sweep by name; None where `history` is the log of one run.

    Parameters
    ----------
    history : mapping of str to history, or sequence of histories
        Those of a sequence are named 1, 2, 3 and so on.
    """
    if isinstance(history, Mapping):
        runs = {str(run): log for run, log in history.items()}
    elif isinstance(history, (list, tuple)):
        runs = {str(number): log for number, log in enumerate(history, start=1)}
    else:
        return None
    return runs if runs and all(_is_history(log) for log in runs.values()) else None


def _is_history(log: Any) -> bool:
    """Return whether this is the log of a run, and not one row or one column of it."""
    if isinstance(log, Mapping):
        return any(isinstance(column, Sequence) or np.ndim(column) for column in log.values())
    if isinstance(log, (list, tuple)):
        return bool(log) and all(isinstance(row, Mapping) for row in log)
    return isinstance(log, (str, os.PathLike)) or hasattr(log, "history")


def columns_of(history: Any, name: str, also: str | None = None) -> dict[str, list[float]]:
    """Return the numbers of a run's log, one row for each estimate.

    Parameters
    ----------
    history : mapping, sequence of mappings, str or Path
        Keras' ``History`` or its ``.history``; rows of numbers by name; or a CSV file's path.
    name : str
        The column that every row must have. Rows without it, such as those that Lightning writes
        of single steps, are left out.
    also : str, optional
        A column that may stand in other rows of the same ``epoch``, as Lightning's validation
        metrics may; it is brought to the estimate's row.

    Returns
    -------
    dict of str to list of float
        NaN where a row lacks a number.

    Raises
    ------
    ValueError
        When `history` is none of these, or no row has `name`.
    OSError
        When the file cannot be read.
    """
    if isinstance(history, (str, os.PathLike)):
        rows = _read_csv(Path(history))
    elif isinstance(history, Mapping) or isinstance(getattr(history, "history", None), Mapping):
        table: Mapping[str, Sequence[Any]] = getattr(history, "history", history)
        return {key: [_number(value) for value in column] for key, column in table.items()}
    elif isinstance(history, Iterable):
        rows = list(history)
    else:
        rows = []
    if not all(isinstance(row, Mapping) for row in rows):
        raise ValueError(
            f"A history of type {type(history).__name__} cannot be drawn. Pass Keras' History, a "
            "list of dicts of numbers, the path of a CSV file, or several of these by name."
        )
    kept = [dict(row) for row in rows if _number(row.get(name)) == _number(row.get(name))]
    if not kept:
        held = dict.fromkeys(key for row in rows for key in row)
        raise ValueError(
            f"The history has no estimates under {name!r}; it has "
            f"{', '.join(map(str, held)) or 'no rows'}."
        )
    if also is not None:
        _bring(also, rows, kept)
    keys = dict.fromkeys(key for row in kept for key in row)
    return {str(key): [_number(row.get(key)) for row in kept] for key in keys}


def check_estimates(log: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the names of accuracy, low, high and in_family in a log.

    Raises
    ------
    ValueError
        When the log lacks one of them.
    """
    keys = tuple(name + suffix for suffix in SUFFIXES)
    missing = [key for key in keys if key not in log]
    if missing:
        raise ValueError(
            f"The log lacks {', '.join(missing)}; it has {', '.join(log) or 'no columns'}."
        )
    return keys


def _bring(key: str, rows: Iterable[Mapping[str, Any]], kept: list[dict[str, Any]]) -> None:
    """Fill a column from rows of the same epoch."""
    known = {row.get("epoch"): row[key] for row in rows if row.get(key) not in (None, "")}
    for row in kept:
        if row.get(key) in (None, "") and row.get("epoch") in known:
            row[key] = known[row["epoch"]]


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
