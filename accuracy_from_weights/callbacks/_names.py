"""The names under which callbacks log."""

from __future__ import annotations

from typing import Any

from accuracy_from_weights.errors import InvalidArgumentError

DEFAULT_NAME = "accuracy_from_weights"
SUFFIXES = ("", "_low", "_high", "_in_family")
ANCHOR_SUFFIX = "_anchor"
FINAL_SUFFIXES = ("_final", "_final_low", "_final_high")


def checked_name(name: Any) -> str:
    """Return the key of the accuracy, or raise `InvalidArgumentError` when it cannot be one."""
    if not isinstance(name, str) or not name or name.startswith("val_"):
        raise InvalidArgumentError(
            "Invalid value for argument `name`. Expected a text such as "
            f"{DEFAULT_NAME!r}, not starting with 'val_' (frameworks keep that for metrics on "
            f"validation data). Received: {name!r}."
        )
    return name
