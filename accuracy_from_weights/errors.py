"""Every error and warning that this package raises on purpose.

Each error says in one sentence what was expected, what was received and what to do; the command
line prints that sentence and leaves with the error's ``exit_code``.
"""

from __future__ import annotations


class AccuracyFromWeightsError(Exception):
    """Base of all errors of this package."""

    exit_code = 1


class UnsupportedModelError(AccuracyFromWeightsError, TypeError):
    """The object holds no network that can be read: no layer has a kernel, or its type is new."""


class UnreadableFileError(AccuracyFromWeightsError, ValueError):
    """The file is missing, truncated, of another format than its name says, or absurd in size."""

    exit_code = 4


class UntrustedFileError(UnreadableFileError):
    """Reading the file would run code that it carries, so it was not read."""


class ZooError(AccuracyFromWeightsError, ValueError):
    """The collection of networks cannot be used: no accuracies, too few runs, a broken layout."""


class MissingDependencyError(AccuracyFromWeightsError, ImportError):
    """An optional library is needed for what was asked; the message names the extra to install."""


class AccuracyFromWeightsWarning(UserWarning):
    """Something the user should know, while the work goes on."""
