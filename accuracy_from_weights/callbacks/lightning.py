"""The callback for the Trainer of Lightning, under both of the framework's names.

The same framework is imported as ``lightning.pytorch`` and as ``pytorch_lightning``, with classes
that know nothing of each other: a Trainer of one does not take a single callback of the other.
`AccuracyFromWeights` therefore derives from every ``Callback`` class that is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Mapping
from typing import Any

from accuracy_from_weights.callbacks.base import (
    AccuracyCallback,
    Observation,
    guarded,
    share_done,
)
from accuracy_from_weights.callbacks.evidence import samples_of
from accuracy_from_weights.callbacks.other_callbacks import Watcher, watchers, watching
from accuracy_from_weights.errors import MissingDependencyError
from accuracy_from_weights.features.task import declared_task

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
            "Lightning is not installed, neither as `lightning` nor as `pytorch_lightning`; run "
            "pip install 'accuracy-from-weights[lightning]'."
        )
    return tuple(found)


_Callback: Any = type("_Callback", _callback_classes(), {})


class AccuracyFromWeights(AccuracyCallback, _Callback):
    """Lightning callback that logs an estimate of the accuracy at each epoch of a Trainer.

    Logs ``accuracy_from_weights`` with ``_low``, ``_high`` (fractions in [0, 1]) and
    ``_in_family`` (0 or 1) at the end of each training epoch and, in ``fit``, of each validation
    run, so that EarlyStopping, ModelCheckpoint, the progress bar and every logger see them, with
    or without validation data. Training is bit for bit what it is without this callback.

    Its place in the list of callbacks matters only beside one that averages weights, which has to
    come first. Lightning assumes ``mode="min"``, so give ``mode="max"``::

        Trainer(
            callbacks=[
                AccuracyFromWeights(),
                EarlyStopping("accuracy_from_weights", mode="max", patience=5),
                ModelCheckpoint(monitor="accuracy_from_weights", mode="max"),
            ]
        )

    The parameters are those of `AccuracyCallback`. To be read, the training accuracy has to be
    logged by epoch, ``self.log("train_acc", ..., on_epoch=True)`` in ``training_step``, and the
    validation accuracy in ``validation_step``: what a module's own ``on_validation_epoch_end`` logs
    counts from the next epoch on. The state of a `stopping` rule is saved in checkpoints.

    Notes
    -----
    With ``WeightAveraging`` or ``EMAWeightAveraging`` the averaged network is estimated, which is
    the one that checkpoints hold.

    When an estimate fails, whatever the cause, there is one warning and training goes on. The last
    known accuracy is logged with the interval [0, 1] and ``_in_family`` 0, and the epoch is not
    counted against the patience of an EarlyStopping. Where no accuracy was ever known, nothing is
    logged, except where a callback or scheduler monitors it, which would raise on a missing key:
    0 is logged then.

    With several processes each estimates its own copy of the weights, which needs no message
    between them. Weights that are sharded over processes cannot be read: that is such a failure.
    """

    log_advice = (
        'log it in `training_step`, as in self.log("train_acc", ..., on_epoch=True), or name it '
        "in `log_keys`"
    )
    anchor_advice = (
        "give `fit` validation data and log the accuracy in `validation_step`, as in "
        'self.log("val_acc", ...), or name it in `anchor_on`'
    )
    forecast_advice = "give the Trainer `max_epochs` or `max_steps`, or pass `planned_epochs`"

    _seen: Observation | None = None
    _seen_at = -1
    _earlier: Mapping[str, Any] = {}
    _is_validating = False

    @property
    def state_key(self) -> str:
        """Where checkpoints keep this callback's state: one place a name."""
        return f"AccuracyFromWeights[{self.name}]"

    @guarded
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start a run, and look for callbacks that use the estimate in a wrong way."""
        self._seen = None
        if trainer.global_step == 0:
            self.start_run()
        if trainer.is_global_zero:
            self.guard("looking at the other callbacks", lambda: self._review(trainer))

    @guarded
    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """See the shape of the inputs, where it is needed, in the first batch."""
        # Without it there is no estimate: one warning for both.
        self.guard("reading a batch", lambda: self._look(batch), "the estimate")

    def _look(self, batch: Any) -> None:
        if self.wants_batch:
            self.see_batch(batch)

    @guarded
    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Remember the metrics of earlier validation runs, to know the new ones."""
        self._earlier = dict(trainer.callback_metrics)

    @guarded
    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log before EarlyStopping and ModelCheckpoint act after validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            # Loggers get validation's numbers only where it runs within an epoch, since those of
            # an epoch's end come again. Lightning wants the same answer each time.
            interval = trainer.val_check_interval
            self._is_validating = True
            try:
                self._log(trainer, isinstance(interval, int) or interval != 1.0)
            finally:
                self._is_validating = False

    @guarded
    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Take an accuracy that the module logged after all callbacks had been asked."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.learn_truth(trainer, trainer.current_epoch)

    @guarded
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log before EarlyStopping and ModelCheckpoint act in a run without validation."""
        self._log(trainer, to_loggers=True)

    def network(self, run: Any) -> Any:
        """Return the module that checkpoints hold, or the network inside it for probes."""
        module = self._averaged(run) or run.lightning_module
        is_whole = self.part is not None or not self._judge.wants_input_shape
        return module if is_whole else network_of(module)

    def declared_task(self, run: Any) -> str | None:
        """Return what the module's class, its losses and metrics, and what it logs declare."""
        return declared_task(run.lightning_module, logged=self.training_metrics(run))

    def training_metrics(self, run: Any) -> dict[str, Any]:
        """Return the metrics of the epoch that ends."""
        metrics = dict(run.callback_metrics)
        # While validation runs, Lightning shows the training metrics of the epoch before, if any.
        results = getattr(run.fit_loop.epoch_loop, "_results", None)
        if results is not None:
            metrics.update(results.metrics(on_step=False)["callback"])
        return metrics

    def validation_metrics(self, run: Any) -> dict[str, Any]:
        """Return the metrics that are new: those of an earlier run stay until there are others."""
        return {
            key: value
            for key, value in run.callback_metrics.items()
            if value is not self._earlier.get(key)
        }

    def agree(self, run: Any, is_due: bool) -> bool:
        """Return whether any process finds an estimate due."""
        return bool(run.strategy.reduce_boolean_decision(is_due, all=False))

    def n_samples(self, run: Any) -> int | None:
        """Return the number of samples of the training loader."""
        return samples_of(run.train_dataloader)

    def progress(self, run: Any) -> float | None:
        """Return the larger share of epochs and steps planned: whichever is first ends the run."""
        batches = run.num_training_batches
        part = min((run.fit_loop.epoch_loop.batch_idx + 1) / batches, 1.0) if batches else 1.0
        epochs = 1.0 if math.isinf(batches) else part
        shares = (
            share_done(run.current_epoch + epochs, run.max_epochs),
            share_done(run.global_step, run.max_steps),
        )
        return max((share for share in shares if share is not None), default=None)

    def _log(self, trainer: Any, to_loggers: bool) -> None:
        seen = self._seen
        if seen is None or self._seen_at != trainer.global_step:
            seen = self.estimate_epoch(trainer, trainer.current_epoch)
            self._seen, self._seen_at = seen, trainer.global_step
            self.hold_patience(watching(trainer.callbacks, seen.stand_ins), "wait_count")
            configs = [one for one in trainer.lr_scheduler_configs if one.monitor in seen.stand_ins]
            self.hold_patience([one.scheduler for one in configs], "num_bad_epochs")
        to_loggers = to_loggers and bool(trainer.loggers)  # without one, Lightning would warn
        self.guard("logging", lambda: self._hand_over(trainer, seen, to_loggers))
        if self.stopping is not None:
            # Every process takes part, so that none trains on alone and waits for the others.
            stop = trainer.strategy.reduce_boolean_decision(self.should_stop, all=False)
            trainer.should_stop = trainer.should_stop or stop

    def _hand_over(self, trainer: Any, seen: Observation, to_loggers: bool) -> None:
        what = "looking at the other callbacks"
        if not seen.known and self.guard(what, lambda: self._is_monitored(trainer)) is False:
            return
        for key, value in seen.values.items():
            trainer.lightning_module.log(
                key,
                value,
                on_step=False,
                on_epoch=True,
                prog_bar=key == self.name,
                logger=to_loggers,
                batch_size=1,
                sync_dist=False,
                # On every rank: a key that exists on rank 0 alone cannot be monitored.
                rank_zero_only=False,
            )

    def _is_monitored(self, trainer: Any) -> bool:
        return any(one.monitor in self.keys for one in _watchers(trainer))

    def _averaged(self, trainer: Any) -> Any:
        """Return the module that a callback which averages weights will save; None without one."""
        places = [at for at, cb in enumerate(trainer.callbacks) if _is_a(cb, "WeightAveraging")]
        if not places:
            return None
        averaging = trainer.callbacks[places[-1]]
        # During validation it holds the module's own weights, and the module the averaged ones. It
        # swaps them back at the end, before or after this callback is called.
        if self._is_validating and places[-1] > trainer.callbacks.index(self):
            return None
        return getattr(averaging._average_model, "module", None)

    def _review(self, trainer: Any) -> None:
        self.review(_watchers(trainer), trainer.callbacks)
        before = self.those_before(trainer.callbacks)
        for callback in trainer.callbacks:
            name = type(callback).__name__
            if _is_a(callback, "StochasticWeightAveraging"):
                self.warn_once(
                    "averaging",
                    f"{name} puts averaged weights into the network when training ends. The "
                    "estimates are of the weights before that; estimate the saved model "
                    "afterwards.",
                )
            elif _is_a(callback, "WeightAveraging") and callback not in before:
                self.warn_once(
                    "averaging",
                    f"{name} stands after it in the list of callbacks, so an average that is "
                    f"updated once an epoch is estimated before the update. Put {name} first.",
                )


def network_of(module: Any) -> Any:
    """Return the part of a LightningModule that can be called with inputs alone.

    Many modules hold their network in one attribute and have no ``forward`` of their own.
    """
    has_forward = any(
        "forward" in vars(kind)
        for kind in type(module).__mro__
        if kind.__name__ not in ("LightningModule", "Module")
    )
    inner = [part for part in module.children() if any(True for _ in part.parameters())]
    return inner[0] if len(inner) == 1 and not has_forward else module


def _is_a(callback: Any, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(callback).__mro__)


def _watchers(trainer: Any) -> list[Watcher]:
    """Return what callbacks and the schedulers of ``configure_optimizers`` monitor."""
    others = [cb for cb in trainer.callbacks if not isinstance(cb, AccuracyFromWeights)]
    schedulers = [
        Watcher(type(one.scheduler).__name__, one.monitor, getattr(one.scheduler, "mode", None))
        for one in trainer.lr_scheduler_configs
        if one.monitor is not None
    ]
    return watchers(others) + schedulers
