"""The names under which estimates are logged, one stem with suffixes."""

from __future__ import annotations

DEFAULT_NAME = "accuracy_from_weights"
"""The name of the accuracy, and the stem of the others."""

SUFFIXES = ("", "_low", "_high", "_in_family")
"""Of the accuracy, the ends of its interval, and whether the network is in the family (0 or 1)."""

ANCHOR_SUFFIX = "_anchor"
"""Of the last measured accuracy."""

FINAL_SUFFIXES = ("_final", "_final_low", "_final_high")
"""Of the forecast and the ends of its interval."""
