"""What all callbacks share: when to estimate, under which names, and what to do when it fails.

A training run must never end because of this package, and nothing that it logs may be NaN, since
frameworks stop or crash on one. So everything that can fail happens in `EpochEstimator.observe`,
which always returns finite numbers and says whether they are known, fresh, or a stand-in; and
around every hook of every callback stands `harmless`, for what nobody thought of.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from accuracy_from_weights._arguments import InvalidArgumentError, flag, positive_int
from accuracy_from_weights.callbacks import _predictor
from accuracy_from_weights.callbacks._inputs import input_shape_of
from accuracy_from_weights.callbacks._predictor import Estimator, Judge
from accuracy_from_weights.callbacks._truths import Truths
from accuracy_from_weights.errors import AccuracyFromWeightsWarning
from accuracy_from_weights.stopping import Decision, StoppingRule

if TYPE_CHECKING:
    from accuracy_from_weights.estimate import Estimate

__all__ = ["DEFAULT_NAME", "EpochEstimator", "Estimator", "Observation", "harmless"]

DEFAULT_NAME = "accuracy_from_weights"
SUFFIXES = ("", "_low", "_high", "_in_family")
ANCHOR_SUFFIX = "_anchor"

Hook = TypeVar("Hook", bound=Callable[..., Any])


@dataclass(frozen=True)
class Observation:
    """The numbers to log for one epoch.

    Attributes
    ----------
    values
        Four finite floats by name: accuracy, low, high (fractions in [0, 1]), in_family (0 or 1);
        and the last true accuracy, where estimates are anchored to one.
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
    features, input_shape
        See `Judge`.
    anchor_every
        At most so often a true accuracy is asked for, and estimates are anchored to all of them.
        None for never.
    anchor_advice
        Where truths come from in this framework: a clause that follows a colon.
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
    ) -> None:
        self.owner = owner
        self.every = positive_int(every_argument, every)
        self.name = _checked_name(name)
        self.keys = tuple(self.name + suffix for suffix in SUFFIXES)
        self.anchor_key = self.name + ANCHOR_SUFFIX
        self.verbose = flag("verbose", verbose)
        if stopping is not None and not isinstance(stopping, StoppingRule):
            raise InvalidArgumentError(
                "Invalid value for argument `stopping`. Expected a rule from "
                "accuracy_from_weights.stopping, such as Patience(5), or None. "
                f"Received: {stopping!r}."
            )
        self.stopping = stopping
        self.truths = Truths(anchor_every)
        self.judge = Judge(predictor, features, input_shape, needs_anchor=anchor_every is not None)
        self._anchor_advice = anchor_advice
        self._said: set[str] = set()
        self.decision: Decision | None = None
        self._values: dict[str, float] | None = None
        self._first: int | None = None
        self._looked = False

    def begin(self, resumed: bool) -> None:
        """Start a run: forget the last one's values, and what a resumed run goes on with."""
        self._values = None
        self._first = None
        self._looked = False
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
    def known_keys(self) -> tuple[str, ...]:
        """All names that may be logged."""
        return (*self.keys, self.anchor_key)

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
                "reading the shape of a batch", lambda: input_shape_of(batch)
            )

    def observe(
        self,
        read: Callable[[], Any],
        epoch: int,
        step: float | None = None,
        log: Callable[[], Mapping[str, float]] | None = None,
        truth: Callable[[], float | None] | None = None,
        insist: bool = False,
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
        """
        if self._values is not None and epoch % self.every and not insist:
            return Observation(self._with_truth(self._values), known=True, failed=False)
        # First, since in some frameworks it is something that all processes do together.
        evidence = self._read_log(log)
        if self._is_blind(evidence):
            estimate = None
        else:
            if truth is not None and (insist or self.truths.due(epoch)):
                self._learn(read, epoch, evidence, truth)
            estimate = self.guard(
                f"the estimate of epoch {epoch}", lambda: self._estimate(read, evidence)
            )
        if estimate is None:
            last = 0.0 if self._values is None else self._values[self.name]
            stand_in = dict(zip(self.keys, (last, 0.0, 1.0, 0.0), strict=True))
            known = self._values is not None
            return Observation(self._with_truth(stand_in), known=known, failed=True)
        numbers = (estimate.accuracy, estimate.low, estimate.high, estimate.in_family)
        self._values = dict(zip(self.keys, map(float, numbers), strict=True))
        self._comment(estimate, epoch)
        self._decide(estimate, float(epoch if step is None else step))
        return Observation(self._with_truth(self._values), known=True, failed=False)

    def learn(
        self,
        read: Callable[[], Any],
        epoch: int,
        log: Callable[[], Mapping[str, float]] | None,
        accuracy: float | None,
    ) -> None:
        """Anchor the estimates from now on to a truth that came after the estimate of its epoch."""
        if accuracy is not None and self.truths.due(epoch) and epoch % self.every == 0:
            evidence = self._read_log(log)
            if not self._is_blind(evidence):
                self._learn(read, epoch, evidence, lambda: accuracy)

    def warn_once(self, topic: str, text: str) -> None:
        """Warn the user, once a topic for the life of the callback."""
        if topic not in self._said:
            self._said.add(topic)
            with _predictor.WARNING_FILTERS:
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
            "truths": self.truths.state_dict(),
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
        # Releases that did not anchor wrote none.
        self.truths.load_state_dict(state.get("truths", []))

    def _read_log(self, log: Callable[[], Mapping[str, float]] | None) -> Any:
        if log is None or not self.judge.wants_log:
            return None
        return self.guard("reading the training log", log)

    def _is_blind(self, evidence: Mapping[str, float] | None) -> bool:
        """Tell whether the training accuracy is missing, which a predictor takes for guessing."""
        return self.judge.wants_log and "accuracy" not in (evidence or {})

    def _with_truth(self, values: Mapping[str, float]) -> dict[str, float]:
        truth = self.truths.latest
        return dict(values) if truth is None else {**values, self.anchor_key: truth}

    def _estimate(self, read: Callable[[], Any], log: Mapping[str, float] | None) -> Estimate:
        predictor = self.judge.load()
        source = read()
        anchored = self.guard("anchoring", lambda: self.truths.anchor(predictor))
        return self._ask(predictor if anchored is None else anchored, source, log)

    def _ask(self, predictor: Any, source: Any, log: Mapping[str, float] | None) -> Estimate:
        return self.judge.ask(predictor, source, self.judge.input_shape, log)

    def _learn(
        self,
        read: Callable[[], Any],
        epoch: int,
        log: Mapping[str, float] | None,
        truth: Callable[[], float | None],
    ) -> None:
        def learn() -> bool:
            accuracy = truth()
            if accuracy is not None:
                plain = self._ask(self.judge.load(), read(), log)
                self.truths.add(epoch, plain, accuracy)
            return True

        if self.guard("getting the true accuracy", learn) is None:
            self.truths.miss(epoch)
        if self._first is None:
            self._first = epoch
        late = self.truths.every is not None and epoch - self._first >= self.truths.every
        if late and not self.truths:
            self.warn_once(
                "no truth",
                f"no true accuracy to anchor to was found up to epoch {epoch}: "
                f"{self._anchor_advice}.",
            )

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


def harmless(hook: Hook) -> Hook:
    """Keep every `Exception` inside a hook of a callback, with one warning a hook."""

    @functools.wraps(hook)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return hook(self, *args, **kwargs)
        except AccuracyFromWeightsWarning:
            raise  # warnings are errors here because the user wants them to be
        except Exception as error:  # noqa: BLE001 - no error of ours may end a training run
            failed = vars(self).setdefault("_failed_hooks", set())
            if hook.__name__ not in failed:
                failed.add(hook.__name__)
                warnings.warn(
                    f"{type(self).__name__}: {hook.__name__} failed and training goes on "
                    f"({type(error).__name__}: {error}).",
                    AccuracyFromWeightsWarning,
                    stacklevel=2,
                )
            return None

    return guarded  # type: ignore[return-value]  # same signature, by functools.wraps


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name or name.startswith("val_"):
        raise InvalidArgumentError(
            "Invalid value for argument `name`. Expected a text such as "
            f"{DEFAULT_NAME!r}, not starting with 'val_' (frameworks keep that for metrics on "
            f"validation data). Received: {name!r}."
        )
    return name
