"""The estimate in PyTorch Ignite's engines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ignite.engine import Engine, Events

from accuracy_from_weights.callbacks._forecasts import share_done
from accuracy_from_weights.callbacks._guarding import harmless
from accuracy_from_weights.callbacks._logs import VALIDATION, LogReader
from accuracy_from_weights.callbacks._samples import samples_of
from accuracy_from_weights.callbacks.base import DEFAULT_NAME, EpochEstimator, Estimator
from accuracy_from_weights.errors import InvalidArgumentError

if TYPE_CHECKING:
    from accuracy_from_weights.stopping.rules import Decision, StoppingRule

__all__ = ["AccuracyFromWeights"]


class AccuracyFromWeights:
    """Add an estimate of the accuracy, made from the weights alone, to a trainer's metrics.

    At the end of each epoch ``trainer.state.metrics`` gains ``accuracy_from_weights`` with
    ``_low``, ``_high`` (fractions in [0, 1]) and ``_in_family`` (0 or 1), with or without an
    evaluator. Training is bit for bit what it is without it.

    Attach it **before** the handlers that use it, and those to the trainer::

        AccuracyFromWeights().attach(trainer, model)
        score = Checkpoint.get_default_score_fn("accuracy_from_weights")
        best = Checkpoint({"model": model}, "folder", score_function=score, n_saved=1)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, best)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, EarlyStopping(3, score, trainer))

    Parameters
    ----------
    predictor
        An `AccuracyPredictor`, the path of a saved one, or None for the one that ships, which is
        loaded at the first epoch. Defaults to None.
    every_n_epochs
        Estimate at epochs 0, n, 2n, ... (Ignite counts from 1); between them the last value is
        repeated. Defaults to 1.
    name
        The key of the accuracy and the stem of the others. Defaults to
        ``"accuracy_from_weights"``.
    stopping
        A rule from `accuracy_from_weights.stopping` that is told each new estimate and may end
        the run; its reason is printed. Defaults to None.
    verbose
        Whether to print each new estimate. Defaults to False.
    features
        What the predictor that ships is to look at: ``"weights"``, ``"weights+probes"`` (also the
        model's answers to synthetic inputs), or ``"weights+probes+log"`` (also training accuracy
        and loss: metrics attached to the trainer before this; the trainer's output serves as loss
        where it is a number). Defaults to what `predictor` was fitted to, and to ``"weights"``
        without one.
    input_shape
        For probes: the shape of one example without the batch's axis. Defaults to that of the
        first batch that passes.
    log_keys
        The names of training accuracy and loss among the trainer's metrics. Defaults to a search
        for usual ones.
    anchor_every
        Anchor the estimates to the accuracies that the `evaluator` given to `attach` finds, at
        most one every n epochs; run it before this, by
        ``Events.EPOCH_COMPLETED(every=n)`` or ``(once=1)``. The last one is kept among the metrics
        as ``accuracy_from_weights_anchor``. Defaults to None, for no anchor.
    anchor_on
        The name of the accuracy among the evaluator's metrics. Defaults to a search for usual
        ones.
    forecast
        Whether to log also what accuracy the run will end with, as ``accuracy_from_weights_final``
        with ``_final_low`` and ``_final_high``, where the predictor can tell, which looks at the
        network a second time. ``run(max_epochs=...)`` tells how much of the run is done. Defaults
        to False.

    Attributes
    ----------
    decision
        The stopping rule's last `Decision`, with its reason; None without a rule.

    Notes
    -----
    It can be saved with the rest: ``Checkpoint({"model": model, "estimate": ours}, ...)``.

    When an estimate fails, whatever the cause, there is one warning and training goes on. The
    last known accuracy (0 where there is none) stands in, with the interval [0, 1] and
    ``_in_family`` 0. Ignite's EarlyStopping keeps to itself what it watches, so such an epoch does
    count against its patience; a rule in `stopping` does not hear of it.
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
            anchor_advice="pass `attach` the evaluator, with an Accuracy among its metrics",
            forecast=forecast,
            forecast_advice="call `run` with `max_epochs` or `max_iters`",
        )
        self._reader = LogReader(
            log_keys,
            anchor_on,
            "attach one to the trainer before this, as in "
            'Accuracy(...).attach(trainer, "accuracy"), or name it in `log_keys`',
            self._epochs.warn_once,
        )
        self._found: Mapping[str, Any] | None = None
        self._estimated_at = -1

    @property
    def decision(self) -> Decision | None:
        """The stopping rule's last decision; None without a rule."""
        return self._epochs.decision

    def attach(
        self, trainer: Engine, model: Any, evaluator: Engine | None = None
    ) -> AccuracyFromWeights:
        """Have `trainer` estimate `model` at the end of each epoch.

        Parameters
        ----------
        trainer
            The engine that trains.
        model
            The `torch.nn.Module` that it trains.
        evaluator
            The engine that evaluates on validation data, for `anchor_every`. Defaults to None.

        Returns
        -------
        This object, for keeping: ``ours = AccuracyFromWeights().attach(trainer, model)``.

        Raises
        ------
        InvalidArgumentError
            When `trainer` or `evaluator` is no Ignite engine.
        """
        if not isinstance(trainer, Engine):
            raise InvalidArgumentError(
                "Invalid value for argument `trainer`. Expected the ignite.engine.Engine that "
                f"trains. Received: {trainer!r}."
            )
        if evaluator is not None and not isinstance(evaluator, Engine):
            raise InvalidArgumentError(
                "Invalid value for argument `evaluator`. Expected the ignite.engine.Engine that "
                f"evaluates, or None. Received: {evaluator!r}."
            )
        trainer.add_event_handler(Events.STARTED, self._start)
        if self._epochs.judge.wants_input_shape:
            trainer.add_event_handler(Events.ITERATION_STARTED, self._see_batch)
        if evaluator is not None:
            evaluator.add_event_handler(Events.COMPLETED, self._evaluated, trainer, model)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._estimate, model)
        return self

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, loadable with ``weights_only=True``."""
        return self._epochs.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self._epochs.load_state_dict(state_dict)

    @harmless
    def _start(self, engine: Engine) -> None:
        self._found, self._estimated_at = None, -1
        if engine.state.epoch == 0:
            self._epochs.begin(resumed=False)

    @harmless
    def _see_batch(self, engine: Engine) -> None:
        if self._epochs.wants_batch:
            self._epochs.see_batch(engine.state.batch)

    @harmless
    def _evaluated(self, evaluator: Engine, trainer: Engine, model: Any) -> None:
        found = dict(evaluator.state.metrics)
        if self._estimated_at == trainer.state.epoch:
            self._epochs.learn(
                lambda: model,
                trainer.state.epoch - 1,
                lambda: self._training_log(trainer),
                self._epochs.guard("getting the true accuracy", lambda: self._validation(found)),
                lambda: samples_of(trainer.state.dataloader),
            )
        else:
            self._found = found

    def _validation(self, metrics: Mapping[str, Any] | None) -> float | None:
        if metrics is None:
            return None
        return self._reader.validation(metrics, ("", *VALIDATION))

    def _training_log(self, engine: Engine) -> dict[str, float]:
        metrics = dict(engine.state.metrics)
        if isinstance(engine.state.output, float):
            metrics.setdefault("loss", engine.state.output)
        return self._reader.training(metrics)

    @harmless
    def _estimate(self, engine: Engine, model: Any) -> None:
        found, self._found = self._found, None
        self._estimated_at = engine.state.epoch
        seen = self._epochs.observe(
            lambda: model,
            engine.state.epoch - 1,
            log=lambda: self._training_log(engine),
            truth=lambda: self._validation(found),
            share=lambda: _share_done(engine.state),
            samples=lambda: samples_of(engine.state.dataloader),
        )
        engine.state.metrics.update(seen.values)
        if self._epochs.should_stop:
            engine.terminate()


def _share_done(state: Any) -> float | None:
    """Return the share of the epochs that ``run`` was asked for, or else of the iterations."""
    share = share_done(state.epoch, state.max_epochs)
    return share_done(state.iteration, state.max_iters) if share is None else share
