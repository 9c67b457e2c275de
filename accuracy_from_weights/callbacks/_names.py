"""The names under which callbacks log."""

from __future__ import annotations

from typing import Any

from accuracy_from_weights.errors import InvalidArgumentError
from accuracy_from_weights.io.logged_names import (
    ANCHOR_SUFFIX,
    DEFAULT_NAME,
    FINAL_SUFFIXES,
    SUFFIXES,
)

__all__ = ["ANCHOR_SUFFIX", "DEFAULT_NAME", "FINAL_SUFFIXES", "SUFFIXES", "checked_name"]


def checked_name(name: Any) -> str:
    """Return the key of the accuracy, or raise `InvalidArgumentError` when it cannot be one."""
    if not isinstance(name, str) or not name or name.startswith("val_"):
        raise InvalidArgumentError(
            "Invalid value for argument `name`. Expected a text such as "
            f"{DEFAULT_NAME!r}, not starting with 'val_' (frameworks keep that for metrics on "
            f"validation data). Received: {name!r}."
        )
    return name
