"""The handler for PyTorch Ignite's engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accuracy_from_weights.callbacks.base import AccuracyCallback, guarded, share_done
from accuracy_from_weights.callbacks.evidence import VALIDATION, samples_of
from accuracy_from_weights.errors import InvalidArgumentError, needs

with needs("This handler needs PyTorch Ignite", extra="ignite"):
    from ignite.engine import Engine, Events

__all__ = ["AccuracyFromWeights"]


class _Metrics(dict[str, Any]):
    """Metrics of a trainer while there is no estimate.

    A handler that reads one of our names gets a number, since the KeyError would end the run;
    whoever asks what there is, as loggers do, finds none.
    """

    def __init__(self, metrics: Mapping[str, Any], unknown: Mapping[str, float]) -> None:
        super().__init__(metrics)
        self.unknown = {**getattr(metrics, "unknown", {}), **unknown}

    def __missing__(self, key: str) -> float:
        return self.unknown[key]


@dataclass(frozen=True)
class _Moment:
    """What the hooks are given: the trainer, its model, and what the evaluator has found."""

    trainer: Any
    model: Any
    found: Mapping[str, Any]


class AccuracyFromWeights(AccuracyCallback):
    """Ignite handler that adds an estimate of the accuracy to a trainer's metrics.

    At the end of each epoch ``trainer.state.metrics`` gains ``accuracy_from_weights`` with
    ``_low``, ``_high`` (fractions in [0, 1]) and ``_in_family`` (0 or 1), with or without an
    evaluator. Training is bit for bit what it is without it.

    Attach it **before** the handlers that use it, and those to the trainer::

        AccuracyFromWeights().attach(trainer, model)
        score = Checkpoint.get_default_score_fn("accuracy_from_weights")
        best = Checkpoint({"model": model}, "folder", score_function=score, n_saved=1)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, best)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, EarlyStopping(3, score, trainer))

    The parameters are those of `AccuracyCallback`. Training accuracy and loss are metrics attached
    to the trainer before this; the trainer's output serves as the loss where it is a number. True
    accuracies come from the `evaluator` given to `attach`: run it before this, by
    ``Events.EPOCH_COMPLETED(every=n)`` or ``(once=1)``.

    Notes
    -----
    It can be saved with the rest: ``Checkpoint({"model": model, "estimate": ours}, ...)``.

    When an estimate fails, whatever the cause, there is one warning and training goes on. The
    last known accuracy stands in, with the interval [0, 1] and ``_in_family`` 0. Where no accuracy
    was ever known, the metrics hold nothing of ours, and a handler that reads one of our names all
    the same gets 0, since a missing key would end the run. Ignite's EarlyStopping keeps to itself
    what it watches, so such an epoch does count against its patience; a rule in `stopping` does not
    hear of it.
    """

    log_advice = (
        'attach one to the trainer before this, as in Accuracy(...).attach(trainer, "accuracy"), '
        "or name it in `log_keys`"
    )
    anchor_advice = "pass `attach` the evaluator, with an Accuracy among its metrics"
    forecast_advice = "call `run` with `max_epochs` or `max_iters`, or pass `planned_epochs`"
    validation_prefixes = ("", *VALIDATION)

    _found: Mapping[str, Any] = {}
    _estimated_at = -1

    def attach(
        self, trainer: Engine, model: Any, evaluator: Engine | None = None
    ) -> AccuracyFromWeights:
        """Have `trainer` estimate `model` at the end of each epoch.

        Parameters
        ----------
        trainer : ignite.engine.Engine
            The engine that trains.
        model : torch.nn.Module
            The network that it trains.
        evaluator : ignite.engine.Engine, optional
            The engine that evaluates on validation data, for `anchor_every`.

        Returns
        -------
        AccuracyFromWeights
            This object, for keeping: ``ours = AccuracyFromWeights().attach(trainer, model)``.

        Raises
        ------
        InvalidArgumentError
            When `trainer` or `evaluator` is no Ignite engine.
        """
        for name, engine in {"trainer": trainer, "evaluator": evaluator}.items():
            if not isinstance(engine, Engine) and not (name == "evaluator" and engine is None):
                raise InvalidArgumentError(
                    f"{name}={engine!r} is no engine; pass an ignite.engine.Engine."
                )
        trainer.add_event_handler(Events.STARTED, self._start)
        if self.wants_batch:
            trainer.add_event_handler(Events.ITERATION_STARTED, self._see_batch)
        if evaluator is not None:
            evaluator.add_event_handler(Events.COMPLETED, self._evaluated, trainer, model)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._estimate_model, model)
        return self

    def network(self, run: _Moment) -> Any:
        """Return the model that was attached."""
        return run.model

    def training_metrics(self, run: _Moment) -> Mapping[str, Any]:
        """Return the trainer's metrics, and its output as the loss."""
        metrics, output = dict(run.trainer.state.metrics), run.trainer.state.output
        return {"loss": output, **metrics} if isinstance(output, float) else metrics

    def validation_metrics(self, run: _Moment) -> Mapping[str, Any]:
        """Return the evaluator's metrics."""
        return run.found

    def agree(self, run: _Moment, is_due: bool) -> bool:
        """Return True: what is repeated would cost Ignite's EarlyStopping its patience."""
        return True

    def n_samples(self, run: _Moment) -> int | None:
        """Return the number of samples of the trainer's loader."""
        return samples_of(run.trainer.state.dataloader)

    def progress(self, run: _Moment) -> float | None:
        """Return the share of the epochs that ``run`` was asked for, or else of the iterations."""
        state = run.trainer.state
        share = share_done(state.epoch, state.max_epochs)
        return share_done(state.iteration, state.max_iters) if share is None else share

    @guarded
    def _start(self, engine: Engine) -> None:
        self._found, self._estimated_at = {}, -1
        if engine.state.epoch == 0:
            self.start_run()

    @guarded
    def _see_batch(self, engine: Engine) -> None:
        if self.wants_batch:
            self.see_batch(engine.state.batch)

    @guarded
    def _evaluated(self, evaluator: Engine, trainer: Engine, model: Any) -> None:
        found = dict(evaluator.state.metrics)
        if self._estimated_at == trainer.state.epoch:
            self.learn_truth(_Moment(trainer, model, found), trainer.state.epoch - 1)
        else:
            self._found = found

    @guarded
    def _estimate_model(self, engine: Engine, model: Any) -> None:
        found, self._found = self._found, {}
        self._estimated_at = engine.state.epoch
        seen = self.estimate_epoch(_Moment(engine, model, found), engine.state.epoch - 1)
        if seen.known:
            engine.state.metrics.update(seen.values)
        else:
            engine.state.metrics = _Metrics(engine.state.metrics, seen.values)
        if self.should_stop:
            engine.terminate()
