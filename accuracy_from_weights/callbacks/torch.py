"""The monitor for a training loop of your own, with PyTorch or anything else."""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from accuracy_from_weights.callbacks.base import AccuracyCallback, Observation
from accuracy_from_weights.callbacks.evidence import VALIDATION, input_shape_of
from accuracy_from_weights.callbacks.judging import checked_shape
from accuracy_from_weights.errors import InvalidArgumentError, invalid_argument, number_between
from accuracy_from_weights.features.log_columns import plain_spelling, read_log
from accuracy_from_weights.features.task import declared_task
from accuracy_from_weights.weights import inner_model

__all__ = ["Monitor"]


@dataclass(frozen=True)
class _Update:
    """One call of `Monitor.update`, which the hooks are given."""

    model: Any
    log: Mapping[str, float] | None
    accuracy: float | None


class Monitor(AccuracyCallback):
    """Monitor that estimates the accuracy of a model once an epoch, in a loop of your own.

    ::

        monitor = Monitor(stopping=Patience(5), log_to=wandb.log)
        for epoch in range(epochs):
            train_one_epoch(model)
            print(monitor.update(model, epoch))
            if monitor.should_stop:
                break

    The model's mode, gradients and the random state stay as they are.

    Parameters
    ----------
    *arguments, **parameters
        Those of `AccuracyCallback`. An epoch is a call of `update`. `anchor_every` needs
        `validate`, since there is no validation of a framework to read; `forecast` needs
        `planned_epochs`; and ``features="weights+probes+log"`` needs the `log` of `update`.
    log_to : callable, optional
        Called as ``log_to(values, step)`` at each update: ``wandb.log``, ``mlflow.log_metrics``, or
        ``lambda values, step: [writer.add_scalar(k, v, step) for k, v in values.items()]`` for
        TensorBoard.

    Notes
    -----
    For probes, the shape of an input is that of the model's first forward pass after the monitor
    was made. Where there was none before the first update, there is one warning and no estimate
    until there is one: pass `input_shape` then.

    For answers on training examples, show the monitor each batch; it keeps the first ones and takes
    256 examples for the whole run::

        for x, y in loader:
            monitor.see_batch((x, y))

    When an estimate fails, whatever the cause, there is one warning, and `update` returns the last
    known accuracy with the interval [0, 1] and ``_in_family`` 0. Where no accuracy was ever known,
    it returns 0 and nothing is logged. An error in `log_to` is a warning, too. `update` raises
    nothing but KeyboardInterrupt and the like.

    It sends no message to other processes. Where several train one network, have the first decide
    for all, since batch normalisation's statistics, and so estimates, may differ::

        stop = torch.tensor(monitor.should_stop)
        torch.distributed.broadcast(stop, src=0)
    """

    log_advice = 'pass update(model, log={"accuracy": ..., "loss": ...})'
    anchor_advice = "`validate` returned none"

    def __init__(
        self,
        *arguments: Any,
        log_to: Callable[[dict[str, float], int], Any] | None = None,
        **parameters: Any,
    ) -> None:
        if log_to is not None and not callable(log_to):
            wanted = "a function of a dict of numbers and a step, such as wandb.log"
            raise invalid_argument("log_to", log_to, wanted)
        self.log_to = log_to
        super().__init__(*arguments, **parameters)
        self._updates = 0
        self._shapes = _FirstForward() if self._judge.lacks_shape else None

    def check_parameters(self) -> None:
        """Raise `InvalidArgumentError`, also for what a loop of your own has to pass."""
        super().check_parameters()
        if self.anchor_every is not None and self.validate is None:
            raise InvalidArgumentError(
                "`anchor_every` needs a true accuracy; pass `validate`, a function of the model "
                "that returns it, or leave `anchor_every` out and pass update(accuracy=...)."
            )
        if self.forecast and self.planned_epochs is None:
            raise InvalidArgumentError(
                "forecast=True needs `planned_epochs`, the number of updates that the whole "
                "training is to have."
            )

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
        model : torch.nn.Module
            Or anything else that `read_weights` takes.
        step : int, optional
            What to log and to tell the stopping rule as the time. Defaults to the number of
            updates before this one.
        log : mapping, optional
            What the loop knows for free, ``{"accuracy": fraction, "loss": nats, "samples":
            number}``: accuracy and loss on training data, and how many samples that has. Read
            where `features` names the log; with the sample, none of it is needed.
            ``"val_accuracy"`` may stand beside them: it is drawn by `chart_to`, and the estimate
            knows nothing of it.
        accuracy : float, optional
            The model's true accuracy, a fraction, where it is known: this estimate and those that
            follow are anchored to it.
        input_shape : tuple of int, optional
            For probes: the shape of one example without the batch axis, such as
            ``tuple(x.shape[1:])``.

        Returns
        -------
        dict of str to float
            Finite numbers by name: accuracy, low, high (fractions in [0, 1]), in_family (0 or 1);
            the forecast and its interval with `forecast`; and the last true accuracy where there
            is one.
        """
        count, self._updates = self._updates, self._updates + 1
        step = count if step is None else step
        if input_shape is not None:
            shape = self.guard("taking `input_shape`", lambda: checked_shape(input_shape))
            self._judge.input_shape = shape
        elif self._judge.lacks_shape:
            self.guard(
                "reading the shape of an input", lambda: self._find_shape(model), "the estimate"
            )
        seen: Observation | None = self.guard(
            "the update",
            lambda: self.estimate_epoch(
                _Update(model, log, accuracy), count, step, is_due=accuracy is not None
            ),
        )
        if seen is None:
            return self.nothing_known()
        values, log_to = seen.values, self.log_to
        if log_to is not None and seen.known:
            self.guard("`log_to`", lambda: log_to(dict(values), step))
        return values

    def network(self, run: _Update) -> Any:
        """Return the model."""
        return run.model

    def declared_task(self, run: _Update) -> str | None:
        """Return what the model, its losses and the names in the log declare."""
        return declared_task(run.model, logged=run.log or ())

    def training_metrics(self, run: _Update) -> Mapping[str, Any]:
        """Return the log of the update; a name in it that is not known is an error."""
        validated = self.validation_metrics(run)
        return read_log({k: v for k, v in (run.log or {}).items() if k not in validated})

    def validation_metrics(self, run: _Update) -> Mapping[str, Any]:
        """Return what the log of the update names as found on validation data."""
        log = run.log or {}
        return {k: v for k, v in log.items() if plain_spelling(str(k)).startswith(VALIDATION)}

    def true_accuracy(self, run: _Update) -> float | None:
        """Return the accuracy of the update, or else what `validate` measures."""
        if run.accuracy is not None:
            return number_between("accuracy", run.accuracy, 0.0, 1.0)
        return super().true_accuracy(run) if self.validate is not None else None

    def n_samples(self, run: _Update) -> int | None:
        """Return the number of samples that the log of the update names."""
        number = self.training_metrics(run).get("samples")
        return None if number is None else int(number)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, in plain numbers, strings, lists and dicts."""
        return {"updates": self._updates, **super().state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        self._updates = int(state_dict.get("updates", 0))
        super().load_state_dict(state_dict)

    def _find_shape(self, model: Any) -> None:
        model, _ = inner_model(model, self.part)
        if self._shapes is not None:
            self._judge.input_shape = self._shapes.of(model)
        if self._judge.input_shape is None:
            from accuracy_from_weights.features.probes import input_spec

            # Tokens are found from the model's first layer, as are tables and signals.
            self._judge.input_shape = input_spec(model)
        self._shapes = None


class _FirstForward:
    """The shapes of the inputs in the first forward pass of every PyTorch module.

    Which module is to be estimated is not known before the first update, and the first pass comes
    before it. So a hook on all modules notes what each is given first, for as long as this lives.
    """

    def __init__(self) -> None:
        self._shapes: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        torch = sys.modules.get("torch")
        if torch is not None:
            shapes = self._shapes

            def note(module: Any, inputs: Any) -> None:
                with contextlib.suppress(Exception):  # the forward pass is the user's
                    if not torch.compiler.is_compiling() and module not in shapes:
                        shapes[module] = input_shape_of(inputs)

            register = torch.nn.modules.module.register_module_forward_pre_hook
            weakref.finalize(self, register(note).remove)

    def of(self, model: Any) -> tuple[int, ...] | None:
        """Return the shape of one example that the model was given; None where none was seen."""
        from accuracy_from_weights.weights.torch import unwrapped

        seen = (self._shapes.get(one) for one in (model, unwrapped(model)))
        return next((shape for shape in seen if shape is not None), None)
