"""The estimate in a training loop of your own, with PyTorch or anything else."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from accuracy_from_weights._arguments import InvalidArgumentError
from accuracy_from_weights.callbacks._epoch import DEFAULT_NAME, EpochEstimator, Estimator

if TYPE_CHECKING:
    from accuracy_from_weights.stopping import Decision, StoppingRule

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
    """

    def __init__(
        self,
        predictor: Estimator | str | os.PathLike[str] | None = None,
        every_n_updates: int = 1,
        name: str = DEFAULT_NAME,
        stopping: StoppingRule | None = None,
        log: Callable[[dict[str, float], int], Any] | None = None,
        verbose: bool = False,
    ) -> None:
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
        )
        self._log = log
        self._updates = 0

    @property
    def decision(self) -> Decision | None:
        """The stopping rule's last decision; None without a rule."""
        return self._epochs.decision

    @property
    def should_stop(self) -> bool:
        """Whether the stopping rule has decided to end the run."""
        return self._epochs.should_stop

    def update(self, model: Any, step: int | None = None) -> dict[str, float]:
        """Estimate, log and return the numbers.

        Parameters
        ----------
        model
            A `torch.nn.Module`, or anything else that `read_weights` takes.
        step
            What to log and to tell the stopping rule as the time. Defaults to the number of
            updates before this one.

        Returns
        -------
        Four finite floats by name: accuracy, low, high (fractions in [0, 1]), in_family (0 or 1).
        """
        count, self._updates = self._updates, self._updates + 1
        step = count if step is None else step
        values = self._epochs.observe(lambda: model, count, step).values
        log = self._log
        if log is not None:
            self._epochs.guard("`log`", lambda: log(dict(values), step))
        return values

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, in plain numbers, strings, lists and dicts."""
        return {"updates": self._updates, **self._epochs.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self._updates = int(state["updates"])
        self._epochs.load_state_dict(state)
