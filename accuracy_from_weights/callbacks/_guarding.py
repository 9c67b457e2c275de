"""What keeps an error of ours from ending a training run, and what it says instead, once."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from accuracy_from_weights.errors import AccuracyFromWeightsWarning

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# Python's warning filters belong to the whole process: while one thread has ours switched off, no
# other may put its own filters back, nor warn of anything.
_filters = threading.RLock()


def _renew_lock() -> None:
    global _filters
    _filters = threading.RLock()


if hasattr(os, "register_at_fork"):
    # A thread that held it stays behind in the parent, and the child would wait for ever.
    os.register_at_fork(after_in_child=_renew_lock)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence this package's warnings, for what a callback says itself and only once."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyFromWeightsWarning)
        yield


class Guard:
    """Runs what may fail, and warns the user once a topic for as long as it lives.

    Parameters
    ----------
    owner
        What to call the callback in messages.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._said: set[str] = set()

    def warn_once(self, topic: str, text: str) -> None:
        """Warn the user, once a topic."""
        if topic not in self._said:
            self._said.add(topic)
            with _filters:
                warnings.warn(f"{self.owner}: {text}", AccuracyFromWeightsWarning, stacklevel=3)

    def guard(self, what: str, work: Callable[[], Result], topic: str | None = None) -> Any:
        """Return what `work` gives; on any `Exception` warn that `what` failed, and give None.

        One cause is told once, wherever it is met.

        Parameters
        ----------
        what
            What `work` does, for the message; what follows " of " may be another each time.
        work
            What to do.
        topic
            Of several failures on one topic only the first is told. Defaults to `what` up to
            " of ".
        """
        try:
            return work()
        except AccuracyFromWeightsWarning:
            raise  # warnings are errors here because the user wants them to be
        except Exception as error:  # noqa: BLE001 - no error of ours may end a training run
            cause = f"{type(error).__name__}: {error}"
            topic = f"failure of {topic or what.split(' of ')[0]}"
            if not {cause, topic} & self._said:
                self._said.add(cause)
                self.warn_once(topic, f"{what} failed and training goes on ({cause}).")
            return None


def harmless(
    hook: Callable[Concatenate[Any, Arguments], Result],
) -> Callable[Concatenate[Any, Arguments], Result | None]:
    """Run a hook of a callback under the `Guard` that the callback keeps as ``_epochs``."""

    @functools.wraps(hook)
    def guarded(self: Any, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result | None:
        result: Result | None = self._epochs.guard(
            hook.__name__, lambda: hook(self, *args, **kwargs)
        )
        return result

    return guarded
