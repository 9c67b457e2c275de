"""Checks of other callbacks that monitor the estimate: metric's name, direction, patience."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any, NamedTuple


class Watcher(NamedTuple):
    """What a callback of this class, a scheduler or an argument of the trainer monitors."""

    kind: str
    monitor: Any
    mode: str | None


def watchers(callbacks: Iterable[Any]) -> list[Watcher]:
    """Return what those of `callbacks` monitor that keep it in ``monitor`` and ``mode``."""
    return [
        Watcher(type(callback).__name__, callback.monitor, getattr(callback, "mode", None))
        for callback in callbacks
        if getattr(callback, "monitor", None) is not None
    ]


def watching(callbacks: Iterable[Any], keys: Sequence[str]) -> Iterator[Any]:
    """Yield those of `callbacks` whose ``monitor`` is one of `keys`.

    A callback of the user's may fail when it is looked at; it is looked at only where there are
    keys, and when the caller asks for the next one.
    """
    return (one for one in callbacks if keys and getattr(one, "monitor", None) in keys)


def complaints(
    found: Iterable[Watcher],
    keys: Sequence[str],
    all_keys: Iterable[str],
    only_with_forecast: Sequence[str] = (),
) -> list[str]:
    """Return what is wrong with what others monitor, one text each.

    `keys` are what this callback of ours logs, `all_keys` what all of ours in the run do.
    """
    texts = []
    known = {*all_keys, *keys}
    for kind, monitor, mode in found:
        if monitor in keys and mode == "min":
            texts.append(
                f"{kind} monitors {monitor!r} in the direction 'min', so it prefers the worst "
                "epoch. Set its direction to 'max'."
            )
        elif monitor in only_with_forecast and monitor not in known:
            texts.append(
                f"{kind} monitors {monitor!r}, which this callback logs with forecast=True only."
            )
        elif isinstance(monitor, str) and monitor not in known:
            meant = difflib.get_close_matches(monitor, keys, n=1, cutoff=0.85)
            if meant:
                texts.append(
                    f"{kind} monitors {monitor!r}, which this callback does not log. "
                    f"Did you mean {meant[0]!r}?"
                )
    return texts


def hold_patience(
    callbacks: Iterable[Any], counter: str, patience_attribute: str, held: dict[int, int]
) -> None:
    """Give each callback back the epoch of patience that a repeated value is about to cost it.

    Where there is no new estimate, the last value is repeated. Without this, early stopping would
    take that for a run that no longer improves, and end it. `held` keeps what the counters were
    set to since the last estimate: one that is still there has not been charged since, as with a
    callback that looks at every other epoch.
    """
    for callback in callbacks:
        waited = getattr(callback, counter, None)
        patience = getattr(callback, patience_attribute, None)
        if (
            isinstance(waited, int)
            and isinstance(patience, int)
            and held.get(id(callback)) != waited
        ):
            held[id(callback)] = min(waited, patience - 1) - 1
            setattr(callback, counter, held[id(callback)])


def caller(matches: Callable[[Any], bool]) -> Any:
    """Return the innermost object for which `matches` holds among those whose methods are running.

    Keras and transformers give a callback no way to the object that calls it, which holds the
    other callbacks and the logger. None when no object matches: only those extras are lost then.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        candidate = frame.f_locals.get("self")
        if candidate is not None and matches(candidate):
            return candidate
        frame = frame.f_back
    return None
