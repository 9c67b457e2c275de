"""Holder of a callback's predictor, which describes a network once and judges it several times."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.callbacks.evidence import FirstExamples, input_shape_of
from accuracy_from_weights.errors import InvalidArgumentError, invalid_argument, positive_int
from accuracy_from_weights.features.describing import describe_network
from accuracy_from_weights.features.feature_sets import FEATURE_SETS, check_feature_set
from accuracy_from_weights.features.input_spec import InputSpec
from accuracy_from_weights.features.training_sample import take_sample
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
    """Holder of a predictor, which is loaded when it is first needed, and of the inputs it needs.

    The parameters are those of `CommonParameters`; `needs_anchor` says whether the predictor has to
    have a method ``anchor``.
    """

    def __init__(
        self,
        predictor: Any,
        features: Any,
        *,
        input_shape: Any = None,
        sample: Any = None,
        needs_anchor: bool = False,
        part: str | None = None,
    ) -> None:
        self.predictor = _checked_predictor(predictor)
        wanted = FEATURE_SETS[0 if sample is None else -1] if features is None else features
        self.features = check_feature_set(wanted)
        if self.predictor is not None:
            self.features = str(getattr(self.predictor, "features", "weights"))
            if features not in (None, self.features):
                raise InvalidArgumentError(
                    f"`predictor` was fitted to features={self.features!r} and cannot read "
                    f"{features!r}; leave `features` out."
                )
            if needs_anchor and not callable(getattr(self.predictor, "anchor", None)):
                raise InvalidArgumentError(
                    "`predictor` has no method `anchor`, so leave `anchor_every` out."
                )
        self.wants_input_shape = "probes" in self.features
        self.wants_log, self.wants_sample = "log" in self.features, "sample" in self.features
        self.input_shape: tuple[int, ...] | InputSpec | None = checked_shape(input_shape)
        self.sample = self._given_sample = sample
        self.part = part
        self._examples = FirstExamples()
        self._saw_batch = False

    def start_run(self, resumed: bool) -> None:
        """Forget what the batches of the last run have shown; a resumed run keeps the examples."""
        self._saw_batch = False
        if not resumed:
            self.sample, self._examples = self._given_sample, FirstExamples()

    @property
    def lacks_shape(self) -> bool:
        """Whether a batch may still tell the shape of an input, which is needed and not known."""
        return self.wants_input_shape and self.input_shape is None and not self._saw_batch

    @property
    def lacks_examples(self) -> bool:
        """Whether more training examples are needed."""
        return self.wants_sample and self.sample is None and not self._examples.is_complete

    def take_shape(self, batch: Any) -> None:
        """Take the shape of an input from a batch, which is tried once a run."""
        self._saw_batch = True
        self.input_shape = input_shape_of(batch)

    def take_examples(self, batch: Any) -> None:
        """Keep the training examples of a batch."""
        self._examples.add(batch)

    def load(self) -> Any:
        """Return the predictor; the one that ships where there is no other."""
        if self.predictor is None:
            from accuracy_from_weights.predictor.pretrained import load_predictor

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
            if self.sample is None:
                self.sample, self._examples = self._examples.examples(), FirstExamples()
            if isinstance(self.sample, tuple):
                self.sample = take_sample(network, *self.sample)  # once, and the same for the run
            evidence["sample"] = self.sample
        return describe_network(network, self.features, task=task, **evidence)

    def judge(self, predictor: Any, row: Row, progress: float | None = None) -> Estimate:
        """Return the estimate of a row by the predictor that is held, or by an anchored copy.

        With `progress`, the share of the planned training that is done, return the forecast. A
        number that is not finite raises `ArithmeticError`.
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
        from accuracy_from_weights.predictor.pretrained import load_predictor

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
