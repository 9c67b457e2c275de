"""The estimate in the Trainer of Hugging Face transformers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import transformers

from accuracy_from_weights.callbacks._forecasts import share_done
from accuracy_from_weights.callbacks._guarding import harmless
from accuracy_from_weights.callbacks._inputs import FirstBatch
from accuracy_from_weights.callbacks._logs import LogReader
from accuracy_from_weights.callbacks._monitors import Watcher, caller, complaints, hold_patience
from accuracy_from_weights.callbacks._predictor import Estimator
from accuracy_from_weights.callbacks._processes import as_first_process
from accuracy_from_weights.callbacks._samples import samples_of
from accuracy_from_weights.callbacks.base import DEFAULT_NAME, EpochEstimator, Observation

if TYPE_CHECKING:
    from accuracy_from_weights.stopping.rules import Decision, StoppingRule

__all__ = ["AccuracyFromWeights"]


class AccuracyFromWeights(transformers.TrainerCallback):
    """Log an estimate of the accuracy, made from the weights alone, at each epoch of a Trainer.

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

    Parameters
    ----------
    predictor
        An `AccuracyPredictor`, the path of a saved one, or None for the one that ships, which is
        loaded at the first epoch. Defaults to None.
    every_n_epochs
        Estimate in epochs 0, n, 2n, ...; between them the last value is repeated. Defaults to 1.
    name
        The key of the accuracy and the stem of the others. Defaults to
        ``"accuracy_from_weights"``.
    stopping
        A rule from `accuracy_from_weights.stopping` that is told each new estimate and may end
        the run; its reason is printed. Its state is kept in checkpoints. Defaults to None.
    verbose
        Whether to print each new estimate. Defaults to False.
    features
        What the predictor that ships is to look at: ``"weights"``, ``"weights+probes"`` (also the
        model's answers to synthetic inputs; for models of images), or ``"weights+probes+log"``
        (also training accuracy and loss). The Trainer logs the loss alone, in epochs before this
        one where ``logging_strategy="epoch"``; log the accuracy yourself, as in
        ``self.log({"train_accuracy": ...})`` of a Trainer of your own. Defaults to what
        `predictor` was fitted to, and to ``"weights"`` without one.
    input_shape
        For probes: the shape of one example without the batch's axis. Defaults to that of the
        first batch that passes.
    log_keys
        The names of training accuracy and loss among what is logged. Defaults to a search for
        usual ones.
    anchor_every
        Anchor the estimates to the accuracies that evaluations find (``compute_metrics``), at most
        one every n epochs; the last one is logged as ``accuracy_from_weights_anchor``. Defaults to
        None, for no anchor.
    anchor_on
        The name of the accuracy among an evaluation's metrics. Defaults to a search for usual
        ones.
    forecast
        Whether to log also what accuracy the run will end with, as ``accuracy_from_weights_final``
        with ``_final_low`` and ``_final_high``, where the predictor can tell, which looks at the
        network a second time. The number of epochs or steps among the arguments tells how much of
        the run is done. Defaults to False.

    Attributes
    ----------
    decision
        The stopping rule's last `Decision`, with its reason; None without a rule.

    Notes
    -----
    When an estimate fails, whatever the cause, there is one warning and training goes on. Since
    the Trainer raises on a missing metric, the last known accuracy (0 where there is none) stands
    in, with the interval [0, 1] and ``_in_family`` 0; the evaluation is not counted against the
    patience of an EarlyStoppingCallback, and no model becomes the best one by an accuracy that
    was never known.

    Where several processes train one network, all log what the first of them estimates.
    """

    def __init__(
        self,
        predictor: Estimator | str | os.PathLike[str] | None = None,
        every_n_epochs: int = 1,
        name: str = DEFAULT_NAME,
        stopping: StoppingRule | None = None,
        verbose: bool = False,
        *,
        features: str | None = None,
        input_shape: tuple[int, ...] | None = None,
        log_keys: tuple[str | None, str | None] | None = None,
        anchor_every: int | None = None,
        anchor_on: str | None = None,
        forecast: bool = False,
    ) -> None:
        self._epochs = EpochEstimator(
            type(self).__name__,
            predictor,
            every_n_epochs,
            name,
            stopping,
            verbose,
            features=features,
            input_shape=input_shape,
            anchor_every=anchor_every,
            anchor_advice="evaluate (eval_strategy) with a `compute_metrics` that gives an "
            "accuracy, or name it in `anchor_on`",
            forecast=forecast,
            forecast_advice="give TrainingArguments `num_train_epochs` or `max_steps`",
        )
        self._reader = LogReader(
            log_keys,
            anchor_on,
            "the Trainer logs none by itself, so log it from a Trainer of your own, as in "
            'self.log({"train_accuracy": ...}), or name it in `log_keys`',
            self._epochs.warn_once,
        )
        self._logs: dict[str, Any] = {}
        self._n_samples: int | None = None
        self._first_batch = FirstBatch(self._epochs)
        self._training = False
        self._trainer: Any = None
        self._seen: Observation | None = None
        self._seen_at = -1
        self._best_at = -1
        self._stops = False

    @property
    def decision(self) -> Decision | None:
        """The stopping rule's last decision; None without a rule."""
        return self._epochs.decision

    @harmless
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start or take up a run, and look for others that use the estimate and cannot."""
        self._training, self._seen, self._trainer, self._best_at = True, None, None, -1
        self._stops = False
        self._logs = {}
        self._epochs.begin(resumed=state.global_step > 0)
        self._epochs.guard("taking up the saved state", lambda: self._take_up(state))
        self._epochs.guard("looking at the other callbacks", lambda: self._review(args))
        self._n_samples = self._epochs.guard(
            "counting the training samples", lambda: samples_of(kwargs.get("train_dataloader"))
        )
        model = kwargs.get("model")
        if self._epochs.wants_batch and model is not None:
            self._epochs.guard(
                "watching for the first batch",
                lambda: self._first_batch.watch(model),
                "the estimate",
            )

    @harmless
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave evaluations after training alone: the Trainer may have loaded other weights."""
        self._training = False
        self._first_batch.leave()

    @harmless
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Remember the last training loss, and whatever else is logged in training."""
        if self._training and logs:
            self._logs.update({k: v for k, v in logs.items() if not k.startswith("eval_")})

    @harmless
    def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> Any:
        """Estimate, log, and decide on stopping and, without evaluation, on the best model."""
        if control.should_evaluate and self._epochs.truths.due(self._epoch(state)):
            return control  # the evaluation that comes now may bring an accuracy to anchor to
        seen = self._observe(state, control, model)
        if args.eval_strategy == "no" and args.save_strategy == "best":
            self._epochs.guard(
                "choosing the best model", lambda: self._choose_best(args, state, control, seen)
            )
        return control

    @harmless
    def on_evaluate(
        self, args: Any, state: Any, control: Any, model: Any, metrics: Any, **kwargs: Any
    ) -> Any:
        """Put the estimate among the evaluation's metrics."""
        if self._training and metrics is not None:
            found = dict(metrics)
            seen = self._observe(
                state, control, model, lambda: self._reader.validation(found, ("eval_",))
            )
            metrics.update({f"eval_{key}": value for key, value in seen.values.items()})
            if _metric(args) in seen.stand_ins:
                self._epochs.guard("holding the patience of other callbacks", self._hold_patience)
        return control

    @harmless
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take back that a model was the best where its accuracy is not known at all."""
        if self._seen is not None and not self._seen.known and self._decides_best(args):
            state.best_metric = state.best_global_step = state.best_model_checkpoint = None
        elif self._best_at == state.global_step:
            # transformers 4 notes the folder of the best model for other save strategies only.
            folder = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
            if os.path.isdir(folder):
                state.best_model_checkpoint = folder

    def _epoch(self, state: Any) -> int:
        # state.epoch is a float and reaches 1.0 with the last step of the first epoch.
        return max(math.ceil((state.epoch or 0.0) - 1e-6) - 1, 0)

    def _observe(
        self,
        state: Any,
        control: Any,
        model: Any,
        truth: Callable[[], float | None] | None = None,
    ) -> Observation:
        seen = self._seen
        if seen is None or self._seen_at != state.global_step:
            seen = self._epochs.observe(
                lambda: model,
                self._epoch(state),
                log=lambda: self._reader.training(self._logs),
                truth=truth,
                share=lambda: share_done(state.global_step, state.max_steps),
                samples=lambda: self._n_samples,
            )
            seen, self._stops = as_first_process(seen, self._epochs.should_stop)
            self._seen, self._seen_at = seen, state.global_step
            self._epochs.guard("logging", lambda: self._log(state, control, dict(seen.values)))
            self._epochs.guard("keeping the state", lambda: self._keep_state(state))
        if self._stops:
            control.should_training_stop = True
        return seen

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
        return _metric(args) in self._epochs.keys

    def _hold_patience(self) -> None:
        hold_patience(
            self._neighbours(), "early_stopping_patience_counter", "early_stopping_patience"
        )

    def _neighbours(self) -> list[Any]:
        return [] if self._trainer is None else list(self._trainer.callback_handler.callbacks)

    @property
    def _state_key(self) -> str:
        return f"AccuracyFromWeights[{self._epochs.name}]"

    def _take_up(self, state: Any) -> None:
        saved = _kept_states(state).get(self._state_key)
        if saved is not None:
            self._epochs.load_state_dict(saved["attributes"])

    def _keep_state(self, state: Any) -> None:
        # Not as transformers' ExportableState: it would make the callback anew from its saved
        # arguments, and a predictor is not among what JSON can hold.
        _kept_states(state)[self._state_key] = {
            "args": {},
            "attributes": self._epochs.state_dict(),
        }

    def _review(self, args: Any) -> None:
        self._trainer = caller(
            lambda it: (
                isinstance(it, transformers.Trainer) and self in it.callback_handler.callbacks
            )
        )
        neighbours = self._neighbours()
        ours = [cb for cb in neighbours if isinstance(cb, AccuracyFromWeights)]
        mode = "max" if args.greater_is_better else "min"
        found = [Watcher("metric_for_best_model", _metric(args), mode)]
        all_keys = [key for cb in ours for key in cb._epochs.known_keys]
        for text in complaints(found, self._epochs.keys, all_keys):
            self._epochs.warn_once(text, text)
        place = next((at for at, cb in enumerate(neighbours) if cb is self), 0)
        early = transformers.EarlyStoppingCallback
        if self._decides_best(args) and any(isinstance(cb, early) for cb in neighbours[:place]):
            self._epochs.warn_once(
                "order",
                "EarlyStoppingCallback stands before it in the list of callbacks and will not see "
                f"{self._epochs.name!r}. Put AccuracyFromWeights first.",
            )


def _metric(args: Any) -> str:
    """Return the name of the metric by which the best model is chosen, as this package has it."""
    return str(args.metric_for_best_model).removeprefix("eval_")


def _kept_states(state: Any) -> dict[str, Any]:
    """Return where the Trainer's state keeps those of callbacks, which it saves as JSON."""
    states = getattr(state, "stateful_callbacks", None)
    return states if isinstance(states, dict) else {}
