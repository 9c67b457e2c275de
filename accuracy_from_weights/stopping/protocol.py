"""The base class of stopping rules, and the decisions that they return."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Estimated(Protocol):
    """What a stopping rule reads of an estimate: an `Estimate`, or anything of this shape.

    Attributes
    ----------
    accuracy, low, high
        Estimate and ends of its interval, fractions in [0, 1].
    in_family
        Whether the network looks like those that the predictor knows.
    condition
        ``"diverged"`` where a weight is NaN or infinite, ``"ok"`` where nothing is wrong.
    """

    @property
    def accuracy(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102
    @property
    def in_family(self) -> bool: ...  # noqa: D102
    @property
    def condition(self) -> str: ...  # noqa: D102


class StopReason(str, enum.Enum):
    """Reason for which a rule stopped, or that it did not; compares equal to its plain text."""

    RUNNING = "running"
    NO_IMPROVEMENT = "no improvement"
    PLATEAU = "plateau"
    HOPELESS = "hopeless"
    DIVERGED = "diverged"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Decision:
    """A rule's answer to one estimate.

    Attributes
    ----------
    stop
        Whether to end the run.
    reason
        Why; `StopReason.RUNNING` while the run goes on.
    text
        One sentence for people, with the numbers that decided.
    """

    stop: bool
    reason: StopReason = StopReason.RUNNING
    text: str = ""

    def __bool__(self) -> bool:
        return self.stop


GO_ON = Decision(stop=False)


class StoppingRule(ABC):
    """Base class of all stopping rules, for rules of your own, too.

    The state is made of plain numbers, strings and lists, so that it survives JSON and PyTorch's
    weights-only loading, and a resumed run goes on counting where it was.
    """

    horizon = "now"
    """What the rule judges: the estimate, or ``"final"``, the forecast of the run's end."""

    @property
    def reads_forecast(self) -> bool:
        """Whether the rule has to be given forecasts."""
        return self.horizon == "final"

    def decide(self, estimate: Estimated, forecast: Estimated | None, step: float) -> Decision:
        """Take whichever of the two the rule judges, and decide; without a forecast, go on."""
        judged = forecast if self.reads_forecast else estimate
        return GO_ON if judged is None else self.update(judged, step)

    @abstractmethod
    def update(self, estimate: Estimated, step: float) -> Decision:
        """Take the next estimate and decide.

        Parameters
        ----------
        estimate
            The network's estimate; `Diverged` alone reads its ``condition``.
        step
            When it was made, in whatever unit the other runs are recorded in (epochs, in the
            callbacks).
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget everything seen, for a new run."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return what the rule has seen so far."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
