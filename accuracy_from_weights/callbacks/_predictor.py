"""The predictor behind a callback: which one, what it wants to see, and one way to ask it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from accuracy_from_weights.callbacks._guarding import quiet
from accuracy_from_weights.errors import InvalidArgumentError, positive_int

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.estimate import Estimate

FEATURES = ("weights", "weights+probes", "weights+probes+log")


class Estimator(Protocol):
    """Anything that estimates: an `AccuracyPredictor`, or an object of the user's own.

    One with an attribute ``features`` that names probes or the log is also given ``input_shape``
    or ``log``, and one with a method ``anchor`` can be anchored. For a forecast it is given
    ``horizon="final"`` and ``progress``.
    """

    def estimate(self, source: Any) -> Estimate:
        """Estimate the accuracy of the network that `source` holds."""


class Judge:
    """Holds a predictor, loads the one that ships when it is first needed, and asks it.

    Parameters
    ----------
    predictor
        An object with ``estimate``, the path of a saved predictor (loaded at once), or None for
        the one that ships.
    features
        One of `FEATURES`, or None for those of `predictor`, and for weights alone without one.
    input_shape
        The shape of one example, without the batch's axis, or None.
    needs_anchor
        Whether the predictor has to have a method ``anchor``.

    Raises
    ------
    InvalidArgumentError
        When an argument is none of these, or `predictor` was fitted to other features.
    """

    def __init__(
        self, predictor: Any, features: Any, input_shape: Any, needs_anchor: bool = False
    ) -> None:
        if features is not None and features not in FEATURES:
            raise InvalidArgumentError(
                f"Invalid value for argument `features`. Expected one of {FEATURES}, or None for "
                f"those of `predictor`. Received: {features!r}."
            )
        self.predictor = _checked_predictor(predictor)
        if self.predictor is None:
            self.features = features or FEATURES[0]
        else:
            self.features = str(getattr(self.predictor, "features", FEATURES[0]))
            if features not in (None, self.features):
                raise InvalidArgumentError(
                    f"Invalid value for argument `features`. Expected {self.features!r}, which "
                    f"`predictor` was fitted to, or None. Received: {features!r}."
                )
        if (
            needs_anchor
            and self.predictor is not None
            and not callable(getattr(self.predictor, "anchor", None))
        ):
            raise InvalidArgumentError(
                "Invalid value for argument `anchor_every`. Expected None, since `predictor` has "
                f"no method `anchor`. Received: predictor={self.predictor!r}."
            )
        self.input_shape = checked_shape(input_shape)

    @property
    def wants_input_shape(self) -> bool:
        """Whether the predictor feeds the network inputs, and so has to know their shape."""
        return "probes" in self.features

    @property
    def wants_log(self) -> bool:
        """Whether the predictor reads training accuracy and loss."""
        return "log" in self.features

    def load(self) -> Any:
        """Return the predictor, the one that ships where there is no other."""
        if self.predictor is None:
            from accuracy_from_weights import load_predictor

            # Weights alone is what an argument more would say.
            more = {} if self.features == FEATURES[0] else {"features": self.features}
            self.predictor = load_predictor(**more)
        return self.predictor

    def ask(
        self,
        predictor: Any,
        source: Any,
        log: Mapping[str, float] | None,
        progress: float | None = None,
    ) -> Estimate:
        """Return the estimate of `predictor`, the held one or an anchored copy, without warnings.

        With `progress`, the share of the planned training that is done, the forecast of what it
        will end with.

        Raises
        ------
        ArithmeticError
            When a number of the estimate is not finite.
        """
        evidence: dict[str, Any] = {}
        if self.wants_input_shape:
            evidence["input_shape"] = self.input_shape
        if self.wants_log:
            evidence["log"] = log
        if progress is not None:
            evidence |= {"horizon": "final", "progress": progress}
        with quiet():  # the predictor would say at each epoch what the callback says once
            estimate: Estimate = predictor.estimate(source, **evidence)
        numbers = (estimate.accuracy, estimate.low, estimate.high, estimate.in_family)
        if not all(math.isfinite(number) for number in numbers):
            raise ArithmeticError(f"the predictor gave {numbers}, not finite numbers")
        return estimate


def _checked_predictor(predictor: Any) -> Any:
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


def checked_shape(shape: Any) -> tuple[int, ...] | None:
    """Return the shape of an input as a tuple, or raise `InvalidArgumentError` when it is none."""
    if shape is None:
        return None
    if not isinstance(shape, (tuple, list)) or not shape:
        raise InvalidArgumentError(
            "Invalid value for argument `input_shape`. Expected the shape of one example without "
            f"the batch's axis, such as (3, 32, 32). Received: {shape!r}."
        )
    return tuple(positive_int("input_shape", length) for length in shape)
