"""Errors and warnings of this package, and the checks of arguments that raise them.

A message says what is wrong first and then what to do, in one or two sentences; the command line
prints it and ends with the error's ``exit_code``.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from numbers import Integral, Real
from types import FrameType
from typing import Any


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


class InvalidArgumentError(AccuracyFromWeightsError, ValueError):
    """An argument has a value that cannot be used; the message says which and what to pass."""


class MissingDependencyError(AccuracyFromWeightsError, ImportError):
    """An optional library is needed for what was asked; the message names the extra to install."""


class AccuracyFromWeightsWarning(UserWarning):
    """Something the user should know, while the work goes on."""


def invalid_argument(name: str, value: Any, wanted: str) -> InvalidArgumentError:
    """Return the error for an argument that cannot be used.

    Parameters
    ----------
    name : str
    value : Any
    wanted : str
        What to pass instead, such as "an integer above 0".
    """
    return InvalidArgumentError(f"`{name}={value!r}` cannot be used; pass {wanted}.")


@contextlib.contextmanager
def needs(need: str, extra: str) -> Iterator[None]:
    """Raise `MissingDependencyError` where an import in the block fails.

    Parameters
    ----------
    need : str
        What needs which library: "Plots need matplotlib".
    extra : str
        The package's extra that installs it.
    """
    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(
            f"{need}, which cannot be imported ({first_line(error)}); run "
            f"pip install 'accuracy-from-weights[{extra}]'."
        ) from error


def warn(message: str) -> None:
    """Warn with an `AccuracyFromWeightsWarning` that quotes the line of the user's own code.

    That is the innermost running line outside this package, Python's own library and whatever else
    is installed: the user's ``model.fit(...)`` rather than a line of Keras'.
    """
    frame: FrameType | None = sys._getframe(1)
    outside = None
    while frame is not None:
        path = os.path.normcase(os.path.abspath(frame.f_code.co_filename))
        if not path.startswith(_own_folder()):
            outside = outside or frame
            is_made = os.path.basename(path).startswith(("<frozen", "<eval_with"))
            if not is_made and not path.startswith(_library_folders()):
                break
        frame = frame.f_back
    quoted = frame or outside or sys._getframe(1)
    warnings.warn_explicit(
        message,
        AccuracyFromWeightsWarning,
        quoted.f_code.co_filename,
        quoted.f_lineno,
        module=quoted.f_globals.get("__name__") or "<unknown>",
        registry=quoted.f_globals.setdefault("__warningregistry__", {}),
    )


@functools.cache
def _own_folder() -> str:
    return os.path.join(os.path.normcase(os.path.dirname(os.path.abspath(__file__))), "")


@functools.cache
def _library_folders() -> tuple[str, ...]:
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {sysconfig.get_path(kind) for kind in kinds}
    return tuple(os.path.join(os.path.normcase(folder), "") for folder in folders)


def positive_int(name: str, value: Any) -> int:
    """Return `value` as an int, or raise `InvalidArgumentError` when it is no integer above 0."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise invalid_argument(name, value, "an integer of at least 1")
    return int(value)


def number_between(name: str, value: Any, low: float, high: float) -> float:
    """Return `value` as a float in [low, high], or raise `InvalidArgumentError`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) <= high:
        span = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        raise invalid_argument(name, value, f"a number {span}")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """Return `value` as a bool (0 and 1 pass, as in Keras), or raise `InvalidArgumentError`."""
    if value not in (0, 1):
        raise invalid_argument(name, value, "True or False")
    return bool(value)


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error, or its type where it says nothing.

    At most 200 characters, without a full stop, so that it can stand in brackets.
    """
    lines = str(error).strip().splitlines()
    return (lines[0][:200] if lines else type(error).__name__).rstrip(".")
