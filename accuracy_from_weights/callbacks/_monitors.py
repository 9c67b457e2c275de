"""Other callbacks that act on the estimate: their monitor's name, direction and patience."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


def watching(callbacks: Iterable[Any], keys: Sequence[str]) -> list[Any]:
    """Return those of `callbacks` whose ``monitor`` is one of our keys."""
    return [callback for callback in callbacks if getattr(callback, "monitor", None) in keys]


def complaints(callbacks: Iterable[Any], keys: Sequence[str], all_keys: Iterable[str]) -> list[str]:
    """Say what is wrong with the monitors of other callbacks, one sentence each.

    Parameters
    ----------
    callbacks
        The other callbacks of the run.
    keys
        What this callback of ours logs.
    all_keys
        What all callbacks of ours in the run log; those names are nobody's misspelling.
    """
    found = []
    known = {*all_keys, *keys}
    for callback in callbacks:
        monitor, kind = getattr(callback, "monitor", None), type(callback).__name__
        if monitor in keys and getattr(callback, "mode", None) == "min":
            found.append(
                f"{kind} monitors {monitor!r} with mode='min', so it prefers the worst epoch. "
                "Pass mode='max'."
            )
        elif isinstance(monitor, str) and monitor not in known:
            meant = difflib.get_close_matches(monitor, keys, n=1, cutoff=0.85)
            if meant:
                found.append(
                    f"{kind} monitors {monitor!r}, which this callback does not log. "
                    f"Did you mean {meant[0]!r}?"
                )
    return found


def hold_patience(watchers: Iterable[Any], counter: str) -> None:
    """Give each watcher back the epoch of patience that a repeated value is about to cost it.

    Where an estimate failed, the last value stands in. Without this, early stopping would take an
    error of ours for a run that no longer improves and end it.
    """
    for watcher in watchers:
        waited, patience = getattr(watcher, counter, None), getattr(watcher, "patience", None)
        if isinstance(waited, int) and isinstance(patience, int):
            setattr(watcher, counter, min(waited, patience - 1) - 1)
