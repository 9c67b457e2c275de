"""The estimate in Lightning, under both of its names.

The same framework is imported as ``lightning.pytorch`` and as ``pytorch_lightning``, with classes
that know nothing of each other: a Trainer of one does not take a single callback of the other.
`AccuracyFromWeights` therefore derives from every ``Callback`` class that is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from accuracy_from_weights.callbacks import _monitors
from accuracy_from_weights.callbacks._forecasts import share_done
from accuracy_from_weights.callbacks._guarding import harmless
from accuracy_from_weights.callbacks._inputs import network_of
from accuracy_from_weights.callbacks._logs import VALIDATION, LogReader
from accuracy_from_weights.callbacks._predictor import Estimator
from accuracy_from_weights.callbacks._samples import samples_of
from accuracy_from_weights.callbacks.base import DEFAULT_NAME, EpochEstimator, Observation
from accuracy_from_weights.errors import MissingDependencyError

if TYPE_CHECKING:
    from accuracy_from_weights.stopping.rules import Decision, StoppingRule

__all__ = ["AccuracyFromWeights"]


def _callback_classes() -> tuple[type, ...]:
    found = [
        importlib.import_module(root).Callback
        for package, root in (
            ("lightning", "lightning.pytorch"),
            ("pytorch_lightning", "pytorch_lightning"),
        )
        if importlib.util.find_spec(package) is not None
    ]
    if not found:
        raise MissingDependencyError(
            "Expected Lightning to be installed for accuracy_from_weights.callbacks.lightning. "
            "Received: neither `lightning` nor `pytorch_lightning`. "
            "Run: pip install 'accuracy-from-weights[lightning]'"
        )
    return tuple(found)


_Callback: Any = type("_Callback", _callback_classes(), {})


class AccuracyFromWeights(_Callback):
    """Log an estimate of the accuracy, made from the weights alone, at each epoch of a Trainer.

    Logs ``accuracy_from_weights`` with ``_low``, ``_high`` (fractions in [0, 1]) and
    ``_in_family`` (0 or 1) at the end of each training epoch and, in ``fit``, of each validation
    run, so that EarlyStopping, ModelCheckpoint, the progress bar and every logger see them, with
    or without validation data. Training is bit for bit what it is without this callback.

    Its place in the list of callbacks does not matter. Lightning takes ``mode="min"`` for granted,
    so give ``mode="max"``::

        Trainer(
            callbacks=[
                AccuracyFromWeights(),
                EarlyStopping("accuracy_from_weights", mode="max", patience=5),
                ModelCheckpoint(monitor="accuracy_from_weights", mode="max"),
            ]
        )

    Parameters
    ----------
    predictor
        An `AccuracyPredictor`, the path of a saved one, or None for the one that ships, which is
        loaded at the first epoch. Defaults to None.
    every_n_epochs
        Estimate at epochs 0, n, 2n, ...; between them the last value is repeated, so that no
        callback misses its key. The patience of an EarlyStopping counts epochs, not estimates.
        Defaults to 1.
    name
        The key of the accuracy and the stem of the others; callbacks with different names work
        side by side and keep their states apart. Defaults to ``"accuracy_from_weights"``.
    stopping
        A rule from `accuracy_from_weights.stopping` that is told each new estimate and may end
        the run; its reason is printed. Its state is saved in checkpoints. Defaults to None.
    verbose
        Whether to print each new estimate. Defaults to False.
    features
        What the predictor that ships is to look at: ``"weights"``, ``"weights+probes"`` (also the
        module's answers to synthetic inputs), or ``"weights+probes+log"`` (also training accuracy
        and loss: ``self.log("train_acc", ..., on_epoch=True)`` in ``training_step``). Defaults to
        what `predictor` was fitted to, and to ``"weights"`` without one.
    input_shape
        For probes: the shape of one example without the batch's axis. Defaults to that of the
        first batch that passes.
    log_keys
        The names of training accuracy and loss among the logged metrics. Defaults to a search for
        usual ones.
    anchor_every
        Anchor the estimates to the validation accuracies that the module logs, at most one every n
        epochs, so that ``Trainer(check_val_every_n_epoch=n)`` is enough; the last one is logged as
        ``accuracy_from_weights_anchor``. Log it in ``validation_step``: what a module's own
        ``on_validation_epoch_end`` logs counts from the next epoch on. Defaults to None, for no
        anchor.
    anchor_on
        The name of the validation accuracy among the logged metrics. Defaults to a search for
        usual ones.
    forecast
        Whether to log also what accuracy the run will end with, as ``accuracy_from_weights_final``
        with ``_final_low`` and ``_final_high``, where the predictor can tell, which looks at the
        network a second time. The Trainer's ``max_epochs`` or ``max_steps`` tells how much of the
        run is done. Defaults to False.

    Attributes
    ----------
    decision
        The stopping rule's last `Decision`, with its reason; None without a rule.

    Notes
    -----
    When an estimate fails, whatever the cause, there is one warning and training goes on. Since
    EarlyStopping and ModelCheckpoint raise on a missing key, the last known accuracy (0 where
    there is none) is logged with the interval [0, 1] and ``_in_family`` 0, and the epoch is not
    counted against the patience of an EarlyStopping.

    With several processes each estimates its own copy of the weights, which needs no message
    between them. Weights that are sharded over processes cannot be read: that is such a failure.
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
        super().__init__()
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
            anchor_advice="give `fit` validation data and log the accuracy in `validation_step`, "
            'as in self.log("val_acc", ...), or name it in `anchor_on`',
            forecast=forecast,
            forecast_advice="give the Trainer `max_epochs` or `max_steps`",
        )
        self._reader = LogReader(
            log_keys,
            anchor_on,
            'log it in `training_step`, as in self.log("train_acc", ..., on_epoch=True), or name '
            "it in `log_keys`",
            self._epochs.warn_once,
        )
        self._seen: Observation | None = None
        self._seen_at = -1
        self._earlier: dict[str, Any] = {}

    @property
    def decision(self) -> Decision | None:
        """The stopping rule's last decision; None without a rule."""
        return self._epochs.decision

    @property
    def state_key(self) -> str:
        """Where checkpoints keep this callback's state: one place a name."""
        return f"AccuracyFromWeights[{self._epochs.name}]"

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, loadable with ``weights_only=True``."""
        return self._epochs.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._epochs.load_state_dict(state_dict)

    @harmless
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start a run, and look for other callbacks that use the estimate and cannot."""
        self._seen = None
        if trainer.global_step == 0:
            self._epochs.begin(resumed=False)
        if trainer.is_global_zero:
            self._epochs.guard("looking at the other callbacks", lambda: self._review(trainer))

    @harmless
    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """See the shape of the inputs, where it is needed, in the first batch."""
        if self._epochs.wants_batch:
            self._epochs.see_batch(batch)

    @harmless
    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Remember the metrics of earlier validation runs, to know the new ones."""
        self._earlier = dict(trainer.callback_metrics)

    @harmless
    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log where EarlyStopping and ModelCheckpoint may act after validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            # Loggers get validation's numbers only where it runs within an epoch, since those of
            # an epoch's end come again. Lightning wants the same answer each time.
            interval = trainer.val_check_interval
            within = isinstance(interval, int) or interval != 1.0
            self._log(trainer, pl_module, within, lambda: self._new_truth(trainer))

    @harmless
    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Take an accuracy that the module logged after all callbacks had been asked."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._epochs.learn(
                lambda: self._network(pl_module),
                trainer.current_epoch,
                lambda: self._training_log(trainer),
                self._epochs.guard(
                    "reading the validation accuracy", lambda: self._new_truth(trainer)
                ),
                samples=lambda: samples_of(trainer.train_dataloader),
            )

    @harmless
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log where they act without validation; they run after all ordinary callbacks."""
        self._log(trainer, pl_module, to_loggers=True)

    def _log(
        self,
        trainer: Any,
        pl_module: Any,
        to_loggers: bool,
        truth: Callable[[], float | None] | None = None,
    ) -> None:
        seen = self._seen
        if seen is None or self._seen_at != trainer.global_step:
            seen = self._epochs.observe(
                lambda: self._network(pl_module),
                trainer.current_epoch,
                log=lambda: self._training_log(trainer),
                truth=truth,
                share=lambda: _share_done(trainer),
                samples=lambda: samples_of(trainer.train_dataloader),
            )
            self._seen, self._seen_at = seen, trainer.global_step
            if seen.stand_ins:
                self._epochs.guard(
                    "holding the patience of other callbacks",
                    lambda: _monitors.hold_patience(
                        _monitors.watching(trainer.callbacks, seen.stand_ins), "wait_count"
                    ),
                )
        to_loggers = to_loggers and bool(trainer.loggers)  # without one, Lightning would warn
        self._epochs.guard("logging", lambda: self._hand_over(pl_module, seen, to_loggers))
        if self._epochs.stopping is not None:
            # Every process takes part, so that none trains on alone and waits for the others.
            stop = trainer.strategy.reduce_boolean_decision(self._epochs.should_stop, all=False)
            trainer.should_stop = trainer.should_stop or stop

    def _hand_over(self, pl_module: Any, seen: Observation, to_loggers: bool) -> None:
        for key, value in seen.values.items():
            pl_module.log(
                key,
                value,
                on_step=False,
                on_epoch=True,
                prog_bar=key == self._epochs.name,
                logger=to_loggers,
                batch_size=1,
                sync_dist=False,
                # On every rank: a key that exists on rank 0 alone cannot be monitored.
                rank_zero_only=False,
            )

    def _network(self, pl_module: Any) -> Any:
        return network_of(pl_module) if self._epochs.judge.wants_input_shape else pl_module

    def _training_log(self, trainer: Any) -> dict[str, float]:
        metrics = dict(trainer.callback_metrics)
        # While validation runs, Lightning shows the training metrics of the epoch before, if any.
        results = getattr(trainer.fit_loop.epoch_loop, "_results", None)
        if results is not None:
            metrics.update(results.metrics(on_step=False)["callback"])
        return self._reader.training(metrics)

    def _new_truth(self, trainer: Any) -> float | None:
        metrics = trainer.callback_metrics
        key = self._reader.validation_key(metrics, VALIDATION)
        # An accuracy of an earlier run stays among the metrics until there is a new one.
        is_new = key is not None and metrics[key] is not self._earlier.get(key)
        return self._reader.validation(metrics) if is_new else None

    def _review(self, trainer: Any) -> None:
        others = [cb for cb in trainer.callbacks if not isinstance(cb, AccuracyFromWeights)]
        ours = [cb for cb in trainer.callbacks if isinstance(cb, AccuracyFromWeights)]
        all_keys = [key for cb in ours for key in cb._epochs.known_keys]
        found = _monitors.watchers(others)
        for text in _monitors.complaints(found, self._epochs.keys, all_keys):
            self._epochs.warn_once(text, text)


def _share_done(trainer: Any) -> float | None:
    """Return the larger share of the epochs and steps planned, of which whichever is first ends."""
    batches = trainer.num_training_batches
    part = min((trainer.fit_loop.epoch_loop.batch_idx + 1) / batches, 1.0) if batches else 1.0
    epochs = 1.0 if math.isinf(batches) else part
    shares = (
        share_done(trainer.current_epoch + epochs, trainer.max_epochs),
        share_done(trainer.global_step, trainer.max_steps),
    )
    return max((share for share in shares if share is not None), default=None)
