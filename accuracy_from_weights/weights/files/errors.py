"""The errors of files that cannot be read."""

from __future__ import annotations

from accuracy_from_weights.errors import UnreadableFileError


def unreadable(path: str, reason: str) -> UnreadableFileError:
    """Return the error of a file that cannot be read; the reason is a clause of its own."""
    return UnreadableFileError(f"{path!r} cannot be read as a network's weights: {reason}.")


def damaged(path: str, reason: str) -> UnreadableFileError:
    """Return the error of a file whose content is broken, which says what to do about it."""
    return unreadable(path, f"{reason}; save or download it again")
