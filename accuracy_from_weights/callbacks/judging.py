"""The predictor behind a callback: it describes a network once, and judges the row several times.

`Judge` holds the predictor. `Truths` anchors it to accuracies that are known, and `Forecasts` asks
it what the run will end with.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.callbacks.failures import Guarded
from accuracy_from_weights.errors import InvalidArgumentError, invalid_argument, positive_int
from accuracy_from_weights.features.describing import describe_network
from accuracy_from_weights.features.feature_sets import check_feature_set
from accuracy_from_weights.features.input_spec import InputSpec
from accuracy_from_weights.features.training_sample import take_sample
from accuracy_from_weights.io.logged_names import FINAL_SUFFIXES
from accuracy_from_weights.weights import inner_model

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.estimate import Estimate

Row = NDArray[np.float32]


class Predictor(Protocol):
    """What a callback needs of a predictor: an `AccuracyPredictor`, or an object of your own.

    An attribute ``features`` names the feature set that it reads, and is ``"weights"`` where it is
    missing. A method ``anchor(estimates, accuracies)`` that returns an anchored predictor is needed
    for `anchor_every` alone.
    """

    def judge(
        self, rows: Row, progress: float | None = None, horizon: str = "now"
    ) -> Sequence[Estimate]:
        """Return the estimate of each row, or its forecast with ``horizon="final"``.

        Parameters
        ----------
        rows : ndarray of shape (n_networks, n_features)
            As `describe_network` returns them.
        progress : float or None
            For a forecast: share of the planned training that is done, fraction.
        horizon : {"now", "final"}
        """


class Judge:
    """Holder of a predictor, which is loaded when it is first needed.

    Parameters
    ----------
    predictor
        An object with ``judge``, the path of a saved predictor (loaded at once), or None for the
        one that ships.
    features
        A feature set, or None for that of `predictor`, and for the weights without one.
    input_shape
        Shape of one example, without the batch axis, or None.
    sample
        Training examples with their classes, ``(x, y)``, or None.
    needs_anchor
        Whether the predictor has to have a method ``anchor``.
    part
        Which of several networks in a model to describe, or None.

    Raises
    ------
    InvalidArgumentError
        When an argument is none of these, or `predictor` was fitted to other features.
    """

    def __init__(
        self,
        predictor: Any,
        features: Any,
        input_shape: Any = None,
        sample: Any = None,
        needs_anchor: bool = False,
        part: str | None = None,
    ) -> None:
        self.predictor = _checked_predictor(predictor)
        self.features = "weights" if features is None else check_feature_set(features)
        if self.predictor is not None:
            self.features = str(getattr(self.predictor, "features", "weights"))
            if features not in (None, self.features):
                raise InvalidArgumentError(
                    f"`predictor` was fitted to features={self.features!r} and cannot read "
                    f"{features!r}; leave `features` out."
                )
            if needs_anchor and not callable(getattr(self.predictor, "anchor", None)):
                raise InvalidArgumentError(
                    "`predictor` has no method `anchor`, so `anchor_every` cannot be used with it."
                )
        self.input_shape: tuple[int, ...] | InputSpec | None = checked_shape(input_shape)
        self.sample = sample
        self.part = part

    @property
    def wants_input_shape(self) -> bool:
        """Whether the network is given inputs, whose shape has to be known."""
        return "probes" in self.features

    @property
    def wants_log(self) -> bool:
        """Whether the predictor reads training accuracy and loss."""
        return "log" in self.features

    @property
    def wants_sample(self) -> bool:
        """Whether the predictor reads answers on training examples."""
        return "sample" in self.features

    def load(self) -> Any:
        """Return the predictor; the one that ships where there is no other."""
        if self.predictor is None:
            from accuracy_from_weights import load_predictor

            self.predictor = load_predictor(features=self.features)
        return self.predictor

    def describe(
        self, network: Any, log: Mapping[str, float] | None = None, task: str | None = None
    ) -> Row:
        """Return the network's row of features; the one place where a callback reads a network."""
        network, part = inner_model(network, self.part)
        evidence: dict[str, Any] = {} if part is None else {"part": part}
        if self.wants_input_shape:
            evidence["input_shape"] = self.input_shape
        if self.wants_log:
            evidence["log"] = log
        if self.wants_sample:
            if isinstance(self.sample, tuple):
                self.sample = take_sample(network, *self.sample)  # once, and the same for the run
            evidence["sample"] = self.sample
        return describe_network(network, self.features, task=task, **evidence)

    def judge(self, predictor: Any, row: Row, progress: float | None = None) -> Estimate:
        """Return the estimate of a row by `predictor`: the one that is held, or an anchored copy.

        With `progress`, the share of the planned training that is done, return the forecast.

        Raises
        ------
        ArithmeticError
            When a number of the estimate is not finite.
        """
        horizon = {} if progress is None else {"progress": progress, "horizon": "final"}
        estimate: Estimate
        (estimate,) = predictor.judge(row, **horizon)
        numbers = (estimate.accuracy, estimate.low, estimate.high, estimate.in_family)
        if not all(math.isfinite(number) for number in numbers):
            raise ArithmeticError(f"the predictor returned {numbers}, which are not all finite")
        return estimate


def _checked_predictor(predictor: Any) -> Any:
    if isinstance(predictor, (str, os.PathLike)):
        from accuracy_from_weights import load_predictor

        return load_predictor(predictor)
    if predictor is not None and (
        isinstance(predictor, type) or not callable(getattr(predictor, "judge", None))
    ):
        wanted = "an AccuracyPredictor, the path of a saved one, or None for the one that ships"
        raise invalid_argument("predictor", predictor, wanted)
    return predictor


def checked_shape(shape: Any) -> tuple[int, ...] | None:
    """Return the shape of an input as a tuple, or raise `InvalidArgumentError` when it is none."""
    if shape is None:
        return None
    if not isinstance(shape, (tuple, list)) or not shape:
        wanted = "the shape of one example without the batch axis, such as (3, 32, 32)"
        raise invalid_argument("input_shape", shape, wanted)
    return tuple(positive_int("input_shape", length) for length in shape)


class Truths:
    """The validated epochs of a run: their estimates without an anchor, and their accuracies.

    Parameters
    ----------
    every
        A truth is due at the first epoch and again n epochs after the last one. None where none is
        ever due.
    guard
        What keeps an error in getting a truth from ending the run.
    advice
        Where truths come from in this framework: a clause that follows a colon.
    """

    def __init__(self, every: int | None, guard: Guarded, advice: str) -> None:
        self.every = None if every is None else positive_int("anchor_every", every)
        self._guard = guard
        self._advice = advice
        self.clear()

    def clear(self) -> None:
        """Forget all truths, for a new run."""
        self._seen: list[tuple[int, Estimate, float]] = []
        self._anchored: Any = None
        self._missed_at: int | None = None
        self._first: int | None = None

    @property
    def latest(self) -> float | None:
        """The last truth, a fraction; None where there is none."""
        return self._seen[-1][2] if self._seen else None

    def at(self, epoch: int) -> float | None:
        """Return the truth of this epoch, a fraction; None where there is none."""
        return next((truth for at, _, truth in self._seen if at == epoch), None)

    def due(self, epoch: int) -> bool:
        """Return whether a truth is to be had at this epoch."""
        if self.every is None:
            return False
        last = [
            at for at in (self._missed_at, *(seen[0] for seen in self._seen[-1:])) if at is not None
        ]
        return not last or epoch - max(last) >= self.every

    def learn(self, epoch: int, plain: Estimate, truth: Callable[[], float | None]) -> None:
        """Take the true accuracy of an epoch, beside its estimate without an anchor.

        Parameters
        ----------
        epoch
            Counted from 0.
        plain
            The estimate without an anchor.
        truth
            Returns the accuracy, a fraction, or None where there is none yet.
        """

        def take() -> bool:
            accuracy = truth()
            if accuracy is not None:
                self._seen.append((epoch, plain, float(accuracy)))
                self._anchored = None
            return True

        if self._guard.guard("getting the true accuracy", take) is None:
            self._missed_at = epoch  # so that it is not tried at each one
        if self._first is None:
            self._first = epoch
        is_late = self.every is not None and epoch - self._first >= self.every
        if is_late and not self._seen and self._missed_at is None:
            self._guard.warn_once(
                "no truth",
                f"no true accuracy to anchor to was found up to epoch {epoch}: {self._advice}.",
            )

    def anchor(self, predictor: Any) -> Any:
        """Return `predictor` anchored to all truths; itself where there is none."""
        if not self._seen:
            return predictor
        if self._anchored is None:
            _, estimates, accuracies = zip(*self._seen, strict=True)
            self._anchored = predictor.anchor(list(estimates), list(accuracies))
        return self._anchored

    def state_dict(self) -> list[list[Any]]:
        """Return epochs, estimates and truths in plain numbers, strings and lists."""
        return [
            [epoch, {name: _plain(value) for name, value in vars(estimate).items()}, accuracy]
            for epoch, estimate, accuracy in self._seen
        ]

    def load_state_dict(self, state: list[list[Any]]) -> None:
        """Go on from a state that `state_dict` returned."""
        self._seen = [
            (int(epoch), _estimate(numbers), float(accuracy)) for epoch, numbers, accuracy in state
        ]
        self._anchored = None


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, type(None))) else float(value)


def _estimate(numbers: Mapping[str, Any]) -> Estimate:
    from accuracy_from_weights.predictor.estimate import Estimate

    known = {field.name for field in fields(Estimate)}
    return Estimate(**{name: value for name, value in numbers.items() if name in known})


class Forecasts:
    """The last forecast of a run's final accuracy, and the numbers to log for it.

    Parameters
    ----------
    wanted
        Whether to forecast.
    name
        The key of the accuracy.
    guard
        What keeps an error in a forecast from ending the run.
    advice
        Where the planned length of the training comes from: a clause that follows a colon.

    Attributes
    ----------
    keys
        Of the forecast and its interval; none where it is not wanted.
    fresh
        The forecast beside the last estimate; None where there is none.
    """

    def __init__(self, wanted: bool, name: str, guard: Guarded, advice: str) -> None:
        self.keys = tuple(name + suffix for suffix in FINAL_SUFFIXES) if wanted else ()
        self._guard = guard
        self._advice = advice
        self.clear()

    def clear(self) -> None:
        """Forget the last run."""
        self._values: tuple[float, ...] | None = None
        self._possible = bool(self.keys)
        self.miss()

    def miss(self) -> None:
        """Note that one is due: unless `make` succeeds, the last one stands in for it."""
        self.fresh: Estimate | None = None
        self._stale = True

    def make(
        self, ask: Callable[[float], Estimate], progress: Callable[[], float | None], epoch: int
    ) -> None:
        """Take what the predictor forecasts, if it can; never raises an `Exception`.

        Parameters
        ----------
        ask
            Returns the forecast for a share of the planned training.
        progress
            Returns the share that is done, in [0, 1], or None where the plan is not known.
        epoch
            For messages.
        """
        if self._possible:
            self._guard.guard(f"the forecast of epoch {epoch}", lambda: self._make(ask, progress))

    def _make(self, ask: Callable[[float], Estimate], progress: Callable[[], float | None]) -> None:
        done = progress()
        if done is None:
            self._possible = False
            self._guard.warn_once(
                "no plan",
                "nothing is forecast, since it is not known how long the training is to be: "
                f"{self._advice}.",
            )
            return
        try:
            final = ask(done)
        except (InvalidArgumentError, TypeError):
            self._possible = False  # such a predictor cannot, and need not be asked again
            raise
        self._values = (float(final.accuracy), float(final.low), float(final.high))
        self.fresh = final
        self._stale = False

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """Those keys under which `values` repeats what was known before."""
        return self.keys if self._possible and self._stale else ()

    def values(self) -> dict[str, float]:
        """Return what to log: nothing where no forecast is possible.

        Where one failed, the last known one (0 without any) with the interval [0, 1].
        """
        if not self._possible:
            return {}
        numbers = (0.0, 0.0, 1.0) if self._values is None else self._values
        if self._stale:
            numbers = (numbers[0], 0.0, 1.0)
        return dict(zip(self.keys, numbers, strict=True))

    def state_dict(self) -> list[float] | None:
        """Return the last forecast in plain numbers."""
        return None if self._values is None else list(self._values)

    def load_state_dict(self, state: list[float] | None) -> None:
        """Go on from a state that `state_dict` returned."""
        if state is not None and self.keys:
            final, low, high = (float(number) for number in state)
            self._values, self._stale = (final, low, high), False
