"""What all callbacks share: when to estimate, under which names, and what to do when it fails.

A training run must never end because of this package, and nothing that it logs may be NaN, since
frameworks stop or crash on one. So everything that can fail happens in `EpochEstimator.observe`,
which always returns finite numbers and says whether they are known, fresh, or a stand-in.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from accuracy_from_weights._arguments import InvalidArgumentError, flag, positive_int
from accuracy_from_weights.errors import AccuracyFromWeightsWarning
from accuracy_from_weights.stopping import Decision, StoppingRule

if TYPE_CHECKING:
    from accuracy_from_weights.estimate import Estimate

DEFAULT_NAME = "accuracy_from_weights"
SUFFIXES = ("", "_low", "_high", "_in_family")


class Estimator(Protocol):
    """Anything that estimates: an `AccuracyPredictor`, or an object of the user's own."""

    def estimate(self, source: Any) -> Estimate:
        """Estimate the accuracy of the network that `source` holds."""


@dataclass(frozen=True)
class Observation:
    """The numbers to log for one epoch.

    Attributes
    ----------
    values
        Four finite floats by name: accuracy, low, high (fractions in [0, 1]), in_family (0 or 1).
    known
        Whether the accuracy among them was ever estimated in this run. Where it was not, it is 0.
    failed
        Whether an estimate was due and could not be made: the accuracy is the last known one, the
        interval is [0, 1] and in_family is 0, which says that nothing is known of this network.
    """

    values: dict[str, float]
    known: bool
    failed: bool


class EpochEstimator:
    """Estimates at the epochs that are due and repeats the last value between them.

    Parameters
    ----------
    owner
        What to call the callback in messages.
    predictor
        An object with ``estimate``, the path of a saved predictor (loaded at once), or None for
        the predictor that ships (loaded when the first estimate is due).
    every
        Estimate at every so many epochs, counted from epoch 0; the first epoch seen always gets
        one.
    every_argument
        The name that the callback gives to `every`.
    name
        The key of the accuracy, and the stem of the other keys.
    stopping
        A rule that is told each new estimate, or None.
    verbose
        Whether to print each new estimate. A stop is always printed with its reason.
    """

    def __init__(
        self,
        owner: str,
        predictor: Estimator | str | os.PathLike[str] | None,
        every: int,
        name: str,
        stopping: StoppingRule | None,
        verbose: bool,
        every_argument: str = "every_n_epochs",
    ) -> None:
        self.owner = owner
        self.every = positive_int(every_argument, every)
        self.name = _checked_name(name)
        self.keys = tuple(self.name + suffix for suffix in SUFFIXES)
        self.verbose = flag("verbose", verbose)
        if stopping is not None and not isinstance(stopping, StoppingRule):
            raise InvalidArgumentError(
                "Invalid value for argument `stopping`. Expected a rule from "
                "accuracy_from_weights.stopping, such as Patience(5), or None. "
                f"Received: {stopping!r}."
            )
        self.stopping = stopping
        self._predictor = _checked_predictor(predictor)
        self._said: set[str] = set()
        self.decision: Decision | None = None
        self._values: dict[str, float] | None = None

    def begin(self, resumed: bool) -> None:
        """Start a run: forget the last one's values, and its rule's unless the run is resumed."""
        self._values = None
        if not resumed:
            self.decision = None
            if self.stopping is not None:
                self.guard("resetting the stopping rule", self.stopping.reset)

    @property
    def should_stop(self) -> bool:
        """Whether the stopping rule has ended the run."""
        return self.decision is not None and self.decision.stop

    def observe(
        self, read: Callable[[], Any], epoch: int, step: float | None = None
    ) -> Observation:
        """Estimate if `epoch` is due, else repeat the last value. Never raises an `Exception`.

        Parameters
        ----------
        read
            Gives the network, or whatever else `read_weights` takes.
        epoch
            Counted from 0; decides whether an estimate is due.
        step
            What the stopping rule is told as the time. Defaults to `epoch`.
        """
        if self._values is not None and epoch % self.every:
            return Observation(dict(self._values), known=True, failed=False)
        estimate = self.guard(f"the estimate of epoch {epoch}", lambda: self._estimate(read))
        if estimate is None:
            last = 0.0 if self._values is None else self._values[self.name]
            stand_in = dict(zip(self.keys, (last, 0.0, 1.0, 0.0), strict=True))
            return Observation(stand_in, known=self._values is not None, failed=True)
        numbers = (estimate.accuracy, estimate.low, estimate.high, estimate.in_family)
        self._values = dict(zip(self.keys, map(float, numbers), strict=True))
        self._comment(estimate, epoch)
        self._decide(estimate, float(epoch if step is None else step))
        return Observation(dict(self._values), known=True, failed=False)

    def warn_once(self, topic: str, text: str) -> None:
        """Warn the user, once a topic for the life of the callback."""
        if topic not in self._said:
            self._said.add(topic)
            warnings.warn(f"{self.owner}: {text}", AccuracyFromWeightsWarning, stacklevel=3)

    def guard(self, what: str, work: Callable[[], Any]) -> Any:
        """Return what `work` gives; on any `Exception` warn once that `what` failed, give None."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - no error of ours may end a training run
            self.warn_once(
                f"failure of {what.split(' of ')[0]}",
                f"{what} failed and training goes on ({type(error).__name__}: {error}).",
            )
            return None

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, in plain numbers, strings, lists and dicts."""
        return {
            "values": None if self._values is None else dict(self._values),
            "stopping": None if self.stopping is None else self.stopping.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave; what does not fit is left, with a warning."""
        self.guard("taking up the saved state", lambda: self._load_state(state))

    def _load_state(self, state: Mapping[str, Any]) -> None:
        values = state["values"]
        if values is not None:
            self._values = {key: float(values[key]) for key in self.keys}
        if self.stopping is not None and state["stopping"] is not None:
            self.stopping.load_state_dict(state["stopping"])

    def _estimate(self, read: Callable[[], Any]) -> Estimate:
        if self._predictor is None:
            from accuracy_from_weights import load_predictor

            self._predictor = load_predictor()
        source = read()
        with warnings.catch_warnings():
            # The callback says these things itself, once, where the predictor would at each epoch.
            warnings.simplefilter("ignore", AccuracyFromWeightsWarning)
            estimate = self._predictor.estimate(source)
        numbers = (estimate.accuracy, estimate.low, estimate.high, estimate.in_family)
        if not all(math.isfinite(number) for number in numbers):
            raise ArithmeticError(f"the predictor gave {numbers}, not finite numbers")
        return estimate

    def _comment(self, estimate: Estimate, epoch: int) -> None:
        if getattr(estimate, "condition", "ok") == "diverged":
            self.warn_once(
                "diverged",
                f"at epoch {epoch} the weights hold NaN or infinity. The estimate from here on is "
                "that of an untrained network.",
            )
        elif not estimate.in_family:
            self.warn_once(
                "family",
                f"at epoch {epoch} the network lies outside the family that the predictor knows. "
                "Its estimates go on, with less to rely on; a predictor fitted to such networks "
                "(accuracy-from-weights retrain) would know them.",
            )
        if self.verbose:
            print(
                f"Epoch {epoch}: {self.name} {estimate.accuracy:.4f} "
                f"[{estimate.low:.4f}, {estimate.high:.4f}]"
                + ("" if estimate.in_family else ", outside the family")
            )

    def _decide(self, estimate: Estimate, step: float) -> None:
        rule = self.stopping
        if rule is None or self.should_stop:
            return
        decision = self.guard("the stopping rule", lambda: rule.update(estimate, step))
        if decision is None:
            return
        self.decision = decision
        if decision.stop:
            print(f"{self.owner}: stopped at step {step:g} ({decision.reason}): {decision.text}.")


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name or name.startswith("val_"):
        raise InvalidArgumentError(
            "Invalid value for argument `name`. Expected a text such as "
            f"{DEFAULT_NAME!r}, not starting with 'val_' (frameworks keep that for metrics on "
            f"validation data). Received: {name!r}."
        )
    return name


def _checked_predictor(predictor: Any) -> Estimator | None:
    if isinstance(predictor, (str, os.PathLike)):
        from accuracy_from_weights import load_predictor

        return load_predictor(predictor)
    if predictor is not None and (
        isinstance(predictor, type) or not callable(getattr(predictor, "estimate", None))
    ):
        raise InvalidArgumentError(
            "Invalid value for argument `predictor`. Expected an AccuracyPredictor, the path of a "
            f"saved one, or None for the one that ships. Received: {predictor!r}."
        )
    return predictor
