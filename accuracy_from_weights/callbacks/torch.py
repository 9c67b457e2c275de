"""The estimate in a training loop of your own, with PyTorch or anything else."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from accuracy_from_weights.callbacks._forecasts import share_done
from accuracy_from_weights.callbacks._logs import LogReader
from accuracy_from_weights.callbacks._predictor import checked_shape
from accuracy_from_weights.callbacks._undisturbed import undisturbed
from accuracy_from_weights.callbacks.base import DEFAULT_NAME, EpochEstimator, Estimator
from accuracy_from_weights.errors import (
    InvalidArgumentError,
    number_between,
    positive_int,
)

if TYPE_CHECKING:
    from accuracy_from_weights.stopping.rules import Decision, StoppingRule

__all__ = ["Monitor"]


class Monitor:
    """Estimate the accuracy of a model from its weights, once an epoch, in a loop of your own.

    ::

        monitor = Monitor(stopping=Patience(5), log=wandb.log)
        for epoch in range(epochs):
            train_one_epoch(model)
            print(monitor.update(model, epoch))
            if monitor.should_stop:
                break

    The model's mode, gradients and the random state stay as they are.

    Parameters
    ----------
    predictor
        An `AccuracyPredictor`, the path of a saved one, or None for the one that ships, which is
        loaded at the first update. Defaults to None.
    every_n_updates
        Estimate at every n-th call of `update`, the first among them; between them the last value
        is repeated. Defaults to 1.
    name
        The key of the accuracy and the stem of the others. Defaults to
        ``"accuracy_from_weights"``.
    stopping
        A rule from `accuracy_from_weights.stopping` that is told each new estimate; see
        `should_stop`. Defaults to None.
    log
        Called as ``log(values, step)`` at each update: ``wandb.log``, ``mlflow.log_metrics``, or
        ``lambda values, step: [writer.add_scalar(k, v, step) for k, v in values.items()]`` for
        TensorBoard. Defaults to None.
    verbose
        Whether to print each new estimate. Defaults to False.
    features
        What the predictor that ships is to look at: ``"weights"``, ``"weights+probes"`` (also the
        model's answers to synthetic inputs, whose shape is `input_shape`), or
        ``"weights+probes+log"`` (also training accuracy and loss, which `update` is given).
        Defaults to what `predictor` was fitted to, and to ``"weights"`` without one.
    input_shape
        For probes: the shape of one example without the batch's axis. Defaults to None; it can
        also be given to `update`.
    anchor_every
        Anchor the estimates to a true accuracy that `validate` measures at updates 0, n, 2n, ...;
        the last one is returned as ``accuracy_from_weights_anchor``. Truths can also be given to
        `update`, whenever there are some. Defaults to None.
    validate
        For `anchor_every`: a function of the model that returns its accuracy on validation data,
        a fraction. The model's mode and the generators of random numbers are put back after it.
        Defaults to None.
    forecast
        Whether to return and log also what accuracy the run will end with, as
        ``accuracy_from_weights_final`` with ``_final_low`` and ``_final_high``, where the predictor
        can tell, which looks at the network a second time. Defaults to False.
    planned_updates
        For `forecast`: how many calls of `update` the whole training is to have. Defaults to None.

    Attributes
    ----------
    decision
        The stopping rule's last `Decision`, with its reason; None without a rule.
    should_stop
        Whether the rule has decided to end the run. Once True, it stays.

    Notes
    -----
    When an estimate fails, whatever the cause, there is one warning, and `update` gives the last
    known accuracy (0 where there is none) with the interval [0, 1] and ``_in_family`` 0. An error
    in `log` is a warning, too. Nothing but KeyboardInterrupt and its like ever leaves `update`.

    It sends no message to other processes. Where several train one network, have the first decide
    for all, since batch normalisation's statistics, and so estimates, may differ::

        stop = torch.tensor(monitor.should_stop)
        torch.distributed.broadcast(stop, src=0)
    """

    def __init__(
        self,
        predictor: Estimator | str | os.PathLike[str] | None = None,
        every_n_updates: int = 1,
        name: str = DEFAULT_NAME,
        stopping: StoppingRule | None = None,
        log: Callable[[dict[str, float], int], Any] | None = None,
        verbose: bool = False,
        *,
        features: str | None = None,
        input_shape: tuple[int, ...] | None = None,
        anchor_every: int | None = None,
        validate: Callable[[Any], float] | None = None,
        forecast: bool = False,
        planned_updates: int | None = None,
    ) -> None:
        if (validate is None) != (anchor_every is None) or not (
            validate is None or callable(validate)
        ):
            raise InvalidArgumentError(
                "Invalid value for argument `validate`. Expected a function of the model that "
                "returns its accuracy, together with `anchor_every`, or neither. "
                f"Received: validate={validate!r}, anchor_every={anchor_every!r}."
            )
        if forecast and planned_updates is None:
            raise InvalidArgumentError(
                "Invalid value for argument `planned_updates`. Expected with forecast=True the "
                "number of updates that the whole training is to have. Received: None."
            )
        if log is not None and not callable(log):
            raise InvalidArgumentError(
                "Invalid value for argument `log`. Expected a function of a dict of numbers and a "
                f"step, or None. Received: {log!r}."
            )
        self._epochs = EpochEstimator(
            type(self).__name__,
            predictor,
            every_n_updates,
            name,
            stopping,
            verbose,
            every_argument="every_n_updates",
            features=features,
            input_shape=input_shape,
            anchor_every=anchor_every,
            anchor_advice="`validate` gave none",
            forecast=forecast,
        )
        self._reader = LogReader(
            None,
            None,
            'pass update(model, log={"accuracy": ..., "loss": ...})',
            self._epochs.warn_once,
        )
        self._validate = validate
        self._log = log
        self._planned = (
            None if planned_updates is None else positive_int("planned_updates", planned_updates)
        )
        self._updates = 0

    @property
    def decision(self) -> Decision | None:
        """The stopping rule's last decision; None without a rule."""
        return self._epochs.decision

    @property
    def should_stop(self) -> bool:
        """Whether the stopping rule has decided to end the run."""
        return self._epochs.should_stop

    def update(
        self,
        model: Any,
        step: int | None = None,
        *,
        log: Mapping[str, float] | None = None,
        accuracy: float | None = None,
        input_shape: tuple[int, ...] | None = None,
    ) -> dict[str, float]:
        """Estimate, log and return the numbers.

        Parameters
        ----------
        model
            A `torch.nn.Module`, or anything else that `read_weights` takes.
        step
            What to log and to tell the stopping rule as the time. Defaults to the number of
            updates before this one.
        log
            What the loop knows for free, ``{"accuracy": fraction, "loss": nats, "samples":
            number}``: accuracy and loss on training data, and how many samples that has. Read
            where `features` names the log. Defaults to None.
        accuracy
            The model's true accuracy, a fraction, where it is known: this estimate and those that
            follow are anchored to it. Defaults to None.
        input_shape
            For probes, where the constructor was not given it: the shape of one example without
            the batch's axis, such as ``tuple(x.shape[1:])``. Defaults to None.

        Returns
        -------
        Finite floats by name: accuracy, low, high (fractions in [0, 1]), in_family (0 or 1); the
        forecast and its interval with `forecast`; and the last true accuracy where there is one.
        """
        count, self._updates = self._updates, self._updates + 1
        step = count if step is None else step
        if input_shape is not None:
            shape = self._epochs.guard("taking `input_shape`", lambda: checked_shape(input_shape))
            self._epochs.judge.input_shape = shape
        seen = self._epochs.guard(
            "the update",
            lambda: self._epochs.observe(
                lambda: model,
                count,
                step,
                log=lambda: self._reader.training(log or {}),
                truth=lambda: self._truth(model, accuracy),
                insist=accuracy is not None,
                share=lambda: share_done(count + 1, self._planned),
                samples=lambda: _samples_in(log),
            ),
        )
        values: dict[str, float] = self._epochs.nothing_known() if seen is None else seen.values
        tracker = self._log
        if tracker is not None:
            self._epochs.guard("`log`", lambda: tracker(dict(values), step))
        return values

    def _truth(self, model: Any, known: float | None) -> float | None:
        if known is None and self._validate is not None:
            with undisturbed(model):
                known = float(self._validate(model))
        return None if known is None else number_between("accuracy", known, 0.0, 1.0)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, in plain numbers, strings, lists and dicts."""
        return {"updates": self._updates, **self._epochs.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self._updates = int(state.get("updates", 0))
        self._epochs.load_state_dict(state)


def _samples_in(log: Mapping[str, float] | None) -> int | None:
    number = (log or {}).get("samples")
    return None if number is None else positive_int("log['samples']", number)
