"""Guards that turn an error into one warning: no training run ends because of this package."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from accuracy_from_weights.errors import AccuracyFromWeightsWarning, warn

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Guarded:
    """Base of what runs code that may fail, and warns the user at most once about each topic."""

    _said: set[str]

    def warn_once(self, topic: str, text: str) -> None:
        """Warn the user, unless there was a warning about this topic, any text, before."""
        if topic not in self._said:
            self._said.add(topic)
            warn(f"{type(self).__name__}: {text}")

    def guard(self, what: str, work: Callable[[], Result], topic: str | None = None) -> Any:
        """Return what `work` returns; on any `Exception`, warn that `what` failed and return None.

        One cause is named once, and so is one topic: `what` up to its first " of " by default.
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


def guarded(
    hook: Callable[Concatenate[Any, Arguments], Result],
) -> Callable[Concatenate[Any, Arguments], Result | None]:
    """Decorate a hook that a framework calls, so that no error leaves it; see `Guarded.guard`."""

    @functools.wraps(hook)
    def without_errors(
        self: Any, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result | None:
        result: Result | None = self.guard(hook.__name__, lambda: hook(self, *args, **kwargs))
        return result

    return without_errors
