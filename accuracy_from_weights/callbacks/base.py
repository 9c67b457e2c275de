"""What all callbacks share: when to estimate, under which names, and what to do when it fails.

A training run must never end because of this package, and nothing that it logs may be NaN, since
frameworks stop or crash on one. So everything that can fail happens in `EpochEstimator.observe`,
which always returns finite numbers and says whether they are known or a stand-in; and around
every hook of every callback stands `harmless`, for what nobody thought of.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accuracy_from_weights.callbacks._forecasts import Forecasts, Share
from accuracy_from_weights.callbacks._guarding import Guard
from accuracy_from_weights.callbacks._inputs import input_shape_of
from accuracy_from_weights.callbacks._names import (
    ANCHOR_SUFFIX,
    DEFAULT_NAME,
    SUFFIXES,
    checked_name,
)
from accuracy_from_weights.callbacks._predictor import Estimator, Judge
from accuracy_from_weights.callbacks._samples import Samples
from accuracy_from_weights.callbacks._telling import tell_estimate, tell_stop
from accuracy_from_weights.callbacks._truths import Truths
from accuracy_from_weights.errors import InvalidArgumentError, flag, positive_int
from accuracy_from_weights.stopping.rules import Decision, StoppingRule

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.estimate import Estimate

__all__ = ["DEFAULT_NAME", "EpochEstimator", "Estimator", "Observation"]


@dataclass(frozen=True)
class Observation:
    """The numbers to log for one epoch.

    Attributes
    ----------
    values
        Finite floats by name: accuracy, low, high (fractions in [0, 1]), in_family (0 or 1); the
        forecast and its interval, where there is one; and the last true accuracy, where estimates
        are anchored to one.
    known
        Whether the accuracy among them was ever estimated in this run. Where it was not, it is 0.
    failed
        Whether an estimate was due and could not be made: the accuracy is the last known one, the
        interval is [0, 1] and in_family is 0, which says that nothing is known of this network.
    stand_ins
        The names under which values of an earlier epoch stand in for what could not be made.
    """

    values: dict[str, float]
    known: bool
    failed: bool
    stand_ins: tuple[str, ...] = ()


class EpochEstimator(Guard):
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
    features, input_shape
        See `Judge`.
    anchor_every
        At most so often a true accuracy is asked for, and estimates are anchored to all of them.
        None for never.
    anchor_advice
        Where truths come from in this framework: a clause that follows a colon.
    forecast
        Whether to tell also what the run will end with.
    forecast_advice
        Where the planned length of the training comes from: a clause that follows a colon.
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
        features: str | None = None,
        input_shape: tuple[int, ...] | None = None,
        anchor_every: int | None = None,
        anchor_advice: str = "",
        forecast: bool = False,
        forecast_advice: str = "",
    ) -> None:
        super().__init__(owner)
        self.every = positive_int(every_argument, every)
        self.name = checked_name(name)
        self.forecasts = Forecasts(forecast, self.name, self, forecast_advice)
        self._own_keys = tuple(self.name + suffix for suffix in SUFFIXES)
        self.anchor_key = self.name + ANCHOR_SUFFIX
        self.verbose = flag("verbose", verbose)
        if stopping is not None and not isinstance(stopping, StoppingRule):
            raise InvalidArgumentError(
                "Invalid value for argument `stopping`. Expected a rule from "
                "accuracy_from_weights.stopping, such as Patience(5), or None. "
                f"Received: {stopping!r}."
            )
        if stopping is not None and stopping.reads_forecast and not forecast:
            raise InvalidArgumentError(
                "Invalid value for argument `forecast`. Expected True, since `stopping` judges the "
                f"forecast. Received: {forecast!r}."
            )
        self.stopping = stopping
        self.truths = Truths(anchor_every, self, anchor_advice)
        self.judge = Judge(predictor, features, input_shape, needs_anchor=anchor_every is not None)
        self.decision: Decision | None = None
        self._values: dict[str, float] | None = None
        self._failed = False
        self._looked = False

    def begin(self, resumed: bool) -> None:
        """Start a run: forget the last one's values, and what a resumed run goes on with."""
        self._values, self._failed = None, False
        self._looked = False
        self.forecasts.clear()
        if not resumed:
            self.decision = None
            self.truths.clear()
            if self.stopping is not None:
                self.guard("resetting the stopping rule", self.stopping.reset)

    @property
    def should_stop(self) -> bool:
        """Whether the stopping rule has ended the run."""
        return self.decision is not None and self.decision.stop

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of what is estimated and forecast."""
        return (*self._own_keys, *self.forecasts.keys)

    @property
    def known_keys(self) -> tuple[str, ...]:
        """All names that may be logged."""
        return (*self.keys, self.anchor_key)

    def nothing_known(self) -> dict[str, float]:
        """Return the four numbers for a network of which there is no estimate."""
        return dict(zip(self._own_keys, (0.0, 0.0, 1.0, 0.0), strict=True))

    @property
    def wants_batch(self) -> bool:
        """Whether the shape of an input is needed and no batch was looked at; see `see_batch`."""
        lacks = self.judge.wants_input_shape and self.judge.input_shape is None
        return lacks and not self._looked

    def see_batch(self, batch: Any) -> None:
        """Take the shape of an input from a batch, if `wants_batch`."""
        if self.wants_batch:
            self._looked = True
            self.judge.input_shape = self.guard(
                "reading the shape of a batch", lambda: input_shape_of(batch), "the estimate"
            )

    def observe(
        self,
        read: Callable[[], Any],
        epoch: int,
        step: float | None = None,
        log: Callable[[], Mapping[str, float]] | None = None,
        truth: Callable[[], float | None] | None = None,
        insist: bool = False,
        share: Share | None = None,
        samples: Samples | None = None,
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
        log
            Gives training accuracy and loss; called where the predictor reads them.
        truth
            Gives the true accuracy or None; called where one is due.
        insist
            Whether estimate and truth are due whatever the epoch.
        share
            Gives the share of the planned training that is done, or None; called for a forecast.
        samples
            Gives the number of training samples, or None; called where the log is.
        """
        if self._values is None or epoch % self.every == 0 or insist:
            # First, since in some frameworks it is something that all processes do together.
            evidence = self._read_log(log, samples)
            if truth is not None and not (insist or self.truths.due(epoch)):
                truth = None
            estimate = None
            self.forecasts.miss()
            if not self._is_blind(evidence):
                estimate = self.guard(
                    f"the estimate of epoch {epoch}",
                    lambda: self._estimate(read, epoch, evidence, truth, share),
                )
            self._failed = estimate is None
            if estimate is not None:
                self._take(estimate, epoch, step)
        return self._observation()

    def learn(
        self,
        read: Callable[[], Any],
        epoch: int,
        log: Callable[[], Mapping[str, float]] | None,
        accuracy: float | None,
        samples: Samples | None = None,
    ) -> None:
        """Anchor the estimates from now on to a truth that came after the estimate of its epoch."""
        if accuracy is not None and self.truths.due(epoch) and epoch % self.every == 0:
            evidence = self._read_log(log, samples)
            if not self._is_blind(evidence):
                self.guard(
                    f"the estimate of epoch {epoch}",
                    lambda: self.truths.learn(
                        epoch, self.judge.ask(self.judge.load(), read(), evidence), lambda: accuracy
                    ),
                )

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, in plain numbers, strings, lists and dicts.

        Empty, with a warning, where a stopping rule of the user's own does not give that.
        """
        return self.guard("keeping the state", self._state) or {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave; what does not fit is left, with a warning."""
        self.guard("taking up the saved state", lambda: self._load_state(state))

    def _state(self) -> Any:
        state = {
            "values": self._values,
            "failed": self._failed,
            "stopping": None if self.stopping is None else self.stopping.state_dict(),
            "truths": self.truths.state_dict(),
            "forecast": self.forecasts.state_dict(),
        }
        # Some frameworks write JSON, others files that hold nothing but plain values: what a rule
        # keeps has to survive both, and an error now is better than one in the framework's saving.
        return json.loads(json.dumps(state))

    def _load_state(self, state: Mapping[str, Any]) -> None:
        values = state.get("values")
        if values is not None:
            self._values = {key: float(values[key]) for key in self._own_keys}
        # Earlier releases wrote fewer of these.
        self._failed = bool(state.get("failed", False))
        if self.stopping is not None and state.get("stopping") is not None:
            self.stopping.load_state_dict(state["stopping"])
        self.truths.load_state_dict(state.get("truths", []))
        self.forecasts.load_state_dict(state.get("forecast"))

    def _read_log(
        self, log: Callable[[], Mapping[str, float]] | None, samples: Samples | None
    ) -> Mapping[str, float] | None:
        if log is None or not self.judge.wants_log:
            return None
        found: Mapping[str, float] | None = self.guard("reading the training log", log)
        if found is not None and samples is not None:
            number = self.guard("counting the training samples", samples)
            found = found if number is None else {**found, "samples": number}
        return found

    def _is_blind(self, evidence: Mapping[str, float] | None) -> bool:
        """Tell whether the training accuracy is missing, which a predictor takes for guessing."""
        return self.judge.wants_log and "accuracy" not in (evidence or {})

    def _observation(self) -> Observation:
        known = self._values is not None
        values = self.nothing_known() if self._values is None else dict(self._values)
        if self._failed:
            values = {**self.nothing_known(), self.name: values[self.name]}
        values |= self.forecasts.values()
        if self.truths.latest is not None:
            values[self.anchor_key] = self.truths.latest
        stand_ins = (*(self._own_keys if self._failed else ()), *self.forecasts.stand_ins)
        return Observation(values, known, self._failed, stand_ins)

    def _estimate(
        self,
        read: Callable[[], Any],
        epoch: int,
        log: Mapping[str, float] | None,
        truth: Callable[[], float | None] | None,
        share: Share | None,
    ) -> Estimate:
        predictor, source = self.judge.load(), read()
        if truth is not None:
            self.truths.learn(epoch, self.judge.ask(predictor, source, log), truth)
        anchored = self.guard("anchoring", lambda: self.truths.anchor(predictor))
        predictor = predictor if anchored is None else anchored
        estimate = self.judge.ask(predictor, source, log)
        self.forecasts.make(lambda done: self.judge.ask(predictor, source, log, done), share, epoch)
        return estimate

    def _take(self, estimate: Estimate, epoch: int, step: float | None) -> None:
        numbers = (estimate.accuracy, estimate.low, estimate.high, estimate.in_family)
        self._values = dict(zip(self._own_keys, map(float, numbers), strict=True))
        self.guard(
            "telling of the estimate",
            lambda: tell_estimate(self, self.name, estimate, epoch, self.verbose),
        )
        if self.stopping is not None and not self.should_stop:
            time = epoch if step is None else step
            self.guard("the stopping rule", lambda: self._decide(estimate, float(time)))

    def _decide(self, estimate: Estimate, step: float) -> None:
        decision = (
            None
            if self.stopping is None
            else self.stopping.decide(estimate, self.forecasts.fresh, step)
        )
        if not isinstance(decision, Decision):
            raise TypeError(f"Expected a Decision from {self.stopping!r}. Received: {decision!r}")
        self.decision = decision
        tell_stop(self.owner, decision, step)
