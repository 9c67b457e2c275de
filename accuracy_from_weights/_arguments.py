"""Checks of arguments, with one wording for all of them."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from accuracy_from_weights.errors import AccuracyFromWeightsError


class InvalidArgumentError(AccuracyFromWeightsError, ValueError):
    """An argument has a value that cannot be used; the message says which and what to pass."""


def positive_int(name: str, value: Any) -> int:
    """Return `value` as an int, or raise `InvalidArgumentError` when it is no integer above 0."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise InvalidArgumentError(
            f"Invalid value for argument `{name}`. Expected an integer of at least 1. "
            f"Received: {value!r}."
        )
    return int(value)


def number_between(name: str, value: Any, low: float, high: float) -> float:
    """Return `value` as a float in [low, high], or raise `InvalidArgumentError`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) <= high:
        span = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        raise InvalidArgumentError(
            f"Invalid value for argument `{name}`. Expected a number {span}. Received: {value!r}."
        )
    return float(value)


def flag(name: str, value: Any) -> bool:
    """Return `value` as a bool (0 and 1 pass, as in Keras), or raise `InvalidArgumentError`."""
    if value not in (0, 1):
        raise InvalidArgumentError(
            f"Invalid value for argument `{name}`. Expected True or False. Received: {value!r}."
        )
    return bool(value)
