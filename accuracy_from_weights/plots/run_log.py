"""Columns of a training run's log: Keras' History, a monitor's rows, or a CSV file."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from accuracy_from_weights.io.logged_names import SUFFIXES


def runs_of(history: Any) -> dict[str, Any] | None:
    """Return the runs of a sweep by name, or by number; None where `history` is that of one run."""
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
    """Return the columns of a run's log, one number an estimate, NaN where it lacks one.

    Parameters
    ----------
    history : mapping, sequence of mappings, str or Path
        Keras' ``History`` or its ``.history``; rows of numbers by name; or a CSV file's path.
    name : str
        The column that every row must have. Rows without it, such as those that Lightning writes
        of single steps, are left out; it is a `ValueError` if none is left.
    also : str, optional
        A column that may stand in other rows of the same ``epoch``, as Lightning's validation
        metrics may; it is brought to the estimate's row.
    """
    if isinstance(history, (str, os.PathLike)):
        with open(history, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
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
        known = {row.get("epoch"): row[also] for row in rows if row.get(also) not in (None, "")}
        for row in kept:
            if row.get(also) in (None, "") and row.get("epoch") in known:
                row[also] = known[row["epoch"]]
    keys = dict.fromkeys(key for row in kept for key in row)
    return {str(key): [_number(row.get(key)) for row in kept] for key in keys}


def check_estimates(log: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the names of accuracy, low, high and in_family in a log, or raise `ValueError`."""
    keys = tuple(name + suffix for suffix in SUFFIXES)
    missing = [key for key in keys if key not in log]
    if missing:
        raise ValueError(
            f"The log lacks {', '.join(missing)}; it has {', '.join(log) or 'no columns'}."
        )
    return keys


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
