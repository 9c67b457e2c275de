"""The callback for the Trainer of Hugging Face transformers."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from accuracy_from_weights.callbacks.base import (
    AccuracyCallback,
    Observation,
    guarded,
    share_done,
)
from accuracy_from_weights.callbacks.evidence import samples_of
from accuracy_from_weights.callbacks.other_callbacks import Watcher, caller
from accuracy_from_weights.callbacks.processes import rank_and_number
from accuracy_from_weights.errors import needs

with needs("This callback needs transformers", extra="huggingface"):
    import transformers

__all__ = ["AccuracyFromWeights"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class _Moment:
    """What the hooks are given: the Trainer's state, its model, and what an evaluation found."""

    state: Any
    model: Any
    found: Mapping[str, Any]


class AccuracyFromWeights(AccuracyCallback, transformers.TrainerCallback):
    """Trainer callback that logs an estimate of the accuracy at each epoch.

    ``accuracy_from_weights`` with ``_low``, ``_high`` (fractions in [0, 1]) and ``_in_family`` (0
    or 1) go to the log history and every tracker at the end of each epoch and at each evaluation,
    and with ``eval_`` before them into the metrics of each evaluation, where
    ``metric_for_best_model`` and EarlyStoppingCallback find them. Training is bit for bit what it
    is without this callback.

    Place it **before** EarlyStoppingCallback::

        Trainer(
            model,
            TrainingArguments(
                eval_strategy="epoch",
                save_strategy="epoch",
                load_best_model_at_end=True,
                metric_for_best_model="accuracy_from_weights",
            ),
            callbacks=[AccuracyFromWeights(), EarlyStoppingCallback(3)],
            ...,
        )

    Without evaluation (``eval_strategy="no"``) transformers refuses its EarlyStoppingCallback: use
    `stopping`. The best checkpoint is kept all the same with ``save_strategy="best"``, which this
    callback then decides at each epoch's end.

    The parameters are those of `AccuracyCallback`. The Trainer logs the training loss alone, in
    epochs before this one where ``logging_strategy="epoch"``; without a training sample, log the
    accuracy yourself, as in ``self.log({"train_accuracy": ...})`` of a Trainer of your own. True
    accuracies are those that evaluations find by ``compute_metrics``. The state of a `stopping`
    rule is kept in checkpoints.

    Notes
    -----
    When an estimate fails, whatever the cause, there is one warning and training goes on. The last
    known accuracy is logged with the interval [0, 1] and ``_in_family`` 0, and the evaluation is
    not counted against the patience of an EarlyStoppingCallback. Where no accuracy was ever known,
    nothing is logged, except with ``metric_for_best_model="accuracy_from_weights"``, since the
    Trainer raises on a missing metric: 0 is logged then, and no model becomes the best one by it.

    Where several processes train one network, all log what the first of them estimates.
    """

    log_advice = (
        "the Trainer logs none by itself, so log it from a Trainer of your own, as in "
        'self.log({"train_accuracy": ...}), or name it in `log_keys`'
    )
    anchor_advice = (
        "evaluate (eval_strategy) with a `compute_metrics` that returns an accuracy, or name it in "
        "`anchor_on`"
    )
    forecast_advice = "give TrainingArguments `num_train_epochs` or `max_steps`"

    _logs: dict[str, Any]
    _n_samples: int | None = None
    _hook: Any = None
    _training = False
    _trainer: Any = None
    _seen: Observation | None = None
    _seen_at = -1
    _best_at = -1
    _stops = False

    @guarded
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start or resume a run, and look for callbacks that use the estimate in a wrong way."""
        self._training, self._seen, self._trainer, self._best_at = True, None, None, -1
        self._stops = False
        self._logs = {}
        self.start_run(resumed=state.global_step > 0)
        self.guard("taking up the saved state", lambda: self._take_up(state))
        self.guard("looking at the other callbacks", lambda: self._review(args))
        self._n_samples = self.guard(
            "counting the training samples", lambda: samples_of(kwargs.get("train_dataloader"))
        )
        model = kwargs.get("model")
        if self.wants_batch and model is not None:
            self.guard("watching for the first batch", lambda: self._watch(model), "the estimate")

    @guarded
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave evaluations after training alone: the Trainer may have loaded other weights."""
        self._training = False
        self._leave()

    @guarded
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Remember the last training loss, and whatever else is logged in training."""
        if self._training and logs:
            self._logs.update({k: v for k, v in logs.items() if not k.startswith("eval_")})

    @guarded
    def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> Any:
        """Estimate, log, and decide on stopping and, without evaluation, on the best model."""
        # Not where it is drawn, which is one process alone: all have to come here together.
        awaits_truth = self.chart_to is not None or self._truths.due(_epoch(state))
        if control.should_evaluate and awaits_truth:
            return control  # the evaluation that comes now may bring an accuracy
        seen = self._observe(args, control, _Moment(state, model, {}))
        if args.eval_strategy == "no" and args.save_strategy == "best":
            self.guard(
                "choosing the best model", lambda: self._choose_best(args, state, control, seen)
            )
        return control

    @guarded
    def on_evaluate(
        self, args: Any, state: Any, control: Any, model: Any, metrics: Any, **kwargs: Any
    ) -> Any:
        """Put the estimate among the evaluation's metrics."""
        if self._training and metrics is not None:
            seen = self._observe(args, control, _Moment(state, model, dict(metrics)))
            if seen.known or self._decides_best(args):
                metrics.update({f"eval_{key}": value for key, value in seen.values.items()})
            if _metric(args) in seen.stand_ins:
                self.hold_patience(
                    self._neighbours(),
                    "early_stopping_patience_counter",
                    "early_stopping_patience",
                )
        return control

    @guarded
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Undo the choice of a best model while no accuracy is known at all."""
        if self._seen is not None and not self._seen.known and self._decides_best(args):
            state.best_metric = state.best_global_step = state.best_model_checkpoint = None
        elif self._best_at == state.global_step:
            # transformers 4 notes the folder of the best model for other save strategies only.
            folder = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
            if os.path.isdir(folder):
                state.best_model_checkpoint = folder

    def network(self, run: _Moment) -> Any:
        """Return the model."""
        return run.model

    def training_metrics(self, run: _Moment) -> Mapping[str, Any]:
        """Return the last of what was logged in training, by name."""
        return self._logs

    def validation_metrics(self, run: _Moment) -> Mapping[str, Any]:
        """Return the metrics of the evaluation."""
        return run.found

    def agree(self, run: _Moment, is_due: bool) -> bool:
        """Return what the first process finds."""
        return _as_first_process(is_due)

    def n_samples(self, run: _Moment) -> int | None:
        """Return the number of samples of the training loader."""
        return self._n_samples

    def progress(self, run: _Moment) -> float | None:
        """Return the share of the planned steps that is done."""
        return share_done(run.state.global_step, run.state.max_steps)

    def _observe(self, args: Any, control: Any, moment: _Moment) -> Observation:
        seen, state = self._seen, moment.state
        if seen is None or self._seen_at != state.global_step:
            seen = self.estimate_epoch(moment, _epoch(state))
            seen, self._stops = _as_first_process((seen, self.should_stop))
            self._seen, self._seen_at = seen, state.global_step
            if seen.known or self._decides_best(args):
                self.guard("logging", lambda: self._log(state, control, dict(seen.values)))
            self.guard("keeping the state", lambda: self._keep_state(state))
        if self._stops:
            control.should_training_stop = True
        return seen

    def _watch(self, model: Any) -> None:
        """Look at what the model is given in its next forward passes, for as long as needed."""
        self._leave()

        def look(module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            batch = named or inputs
            self.guard("reading a batch", lambda: self._look(module, batch), "the estimate")

        self._hook = model.register_forward_pre_hook(look, with_kwargs=True)

    def _look(self, module: Any, batch: Any) -> None:
        if module.training:
            self.see_batch(batch)
        if not self.wants_batch:
            self._leave()

    def _leave(self) -> None:
        hook, self._hook = self._hook, None
        if hook is not None:
            hook.remove()

    def _log(self, state: Any, control: Any, values: dict[str, float]) -> None:
        if self._trainer is None:
            state.log_history.append({**values, "epoch": state.epoch, "step": state.global_step})
            return
        # Logging takes the order to log the training loss at this step for carried out.
        due = control.should_log
        try:
            self._trainer.log(values)
        finally:
            control.should_log = due

    def _choose_best(self, args: Any, state: Any, control: Any, seen: Observation) -> None:
        if not (self._decides_best(args) and seen.known):
            return
        value = seen.values[_metric(args)]
        better = state.best_metric is None or (
            value > state.best_metric if args.greater_is_better else value < state.best_metric
        )
        if better:
            state.best_metric = value
            state.best_global_step = self._best_at = state.global_step
            control.should_save = True

    def _decides_best(self, args: Any) -> bool:
        return _metric(args) in self.keys

    def _neighbours(self) -> list[Any]:
        return [] if self._trainer is None else list(self._trainer.callback_handler.callbacks)

    @property
    def _state_key(self) -> str:
        return f"AccuracyFromWeights[{self.name}]"

    def _take_up(self, state: Any) -> None:
        saved = _kept_states(state).get(self._state_key)
        if saved is not None:
            self.load_state_dict(saved["attributes"])

    def _keep_state(self, state: Any) -> None:
        # Not as transformers' ExportableState: it would make the callback anew from its saved
        # arguments, and a predictor is not among what JSON can hold.
        _kept_states(state)[self._state_key] = {
            "args": {},
            "attributes": self.state_dict(),
        }

    def _review(self, args: Any) -> None:
        self._trainer = caller(
            lambda it: (
                isinstance(it, transformers.Trainer) and self in it.callback_handler.callbacks
            )
        )
        neighbours = self._neighbours()
        mode = "max" if args.greater_is_better else "min"
        self.review([Watcher("metric_for_best_model", _metric(args), mode)], neighbours)
        for callback in self.those_before(neighbours):
            is_early = isinstance(callback, transformers.EarlyStoppingCallback)
            if is_early and self._decides_best(args):
                self.warn_of_place(callback)


def _epoch(state: Any) -> int:
    # state.epoch is a float and reaches 1.0 with the last step of the first epoch.
    return max(math.ceil((state.epoch or 0.0) - 1e-6) - 1, 0)


def _as_first_process(value: Value) -> Value:
    """Return the value that the first process has; every process has to call this.

    The statistics of batch normalisation differ from process to process, and so may estimates: one
    process would stop and the others wait for it.
    """
    if rank_and_number()[1] == 1:
        return value
    from torch import distributed

    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def _metric(args: Any) -> str:
    """Return the name of the metric by which the best model is chosen, as this package has it."""
    return str(args.metric_for_best_model).removeprefix("eval_")


def _kept_states(state: Any) -> dict[str, Any]:
    """Return where the Trainer's state keeps those of callbacks, which it saves as JSON."""
    states = getattr(state, "stateful_callbacks", None)
    return states if isinstance(states, dict) else {}
