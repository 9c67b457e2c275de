"""The estimate in Lightning, under both of its names.

The same framework is imported as ``lightning.pytorch`` and as ``pytorch_lightning``, with classes
that know nothing of each other: a Trainer of one does not take a single callback of the other.
`AccuracyFromWeights` therefore derives from every ``Callback`` class that is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accuracy_from_weights.callbacks._epoch import (
    DEFAULT_NAME,
    EpochEstimator,
    Estimator,
    Observation,
)
from accuracy_from_weights.callbacks._monitors import (
    complaints,
    hold_patience,
    watchers,
    watching,
)
from accuracy_from_weights.errors import MissingDependencyError

if TYPE_CHECKING:
    from accuracy_from_weights.stopping import Decision, StoppingRule

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


class AccuracyFromWeights(*_callback_classes()):  # type: ignore[misc]  # bases known at run time
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
    ) -> None:
        super().__init__()
        self._epochs = EpochEstimator(
            type(self).__name__, predictor, every_n_epochs, name, stopping, verbose
        )
        self._seen: Observation | None = None
        self._seen_at = -1

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

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start a run, and look for other callbacks that use the estimate and cannot."""
        self._seen = None
        if trainer.global_step == 0:
            self._epochs.begin(resumed=False)
        if trainer.is_global_zero:
            self._epochs.guard("looking at the other callbacks", lambda: self._review(trainer))

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log where EarlyStopping and ModelCheckpoint may act after validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            # Loggers get validation's numbers only where it runs within an epoch, since those of
            # an epoch's end come again. Lightning wants the same answer each time.
            interval = trainer.val_check_interval
            within = isinstance(interval, int) or interval != 1.0
            self._log(trainer, pl_module, to_loggers=within)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log where they act without validation; they run after all ordinary callbacks."""
        self._log(trainer, pl_module, to_loggers=True)

    def _log(self, trainer: Any, pl_module: Any, to_loggers: bool) -> None:
        seen = self._seen
        if seen is None or self._seen_at != trainer.global_step:
            seen = self._epochs.observe(lambda: pl_module, trainer.current_epoch)
            self._seen, self._seen_at = seen, trainer.global_step
            if seen.failed:
                self._epochs.guard(
                    "holding the patience of other callbacks",
                    lambda: hold_patience(
                        watching(trainer.callbacks, self._epochs.keys), "wait_count"
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

    def _review(self, trainer: Any) -> None:
        others = [cb for cb in trainer.callbacks if not isinstance(cb, AccuracyFromWeights)]
        ours = [cb for cb in trainer.callbacks if isinstance(cb, AccuracyFromWeights)]
        all_keys = [key for cb in ours for key in cb._epochs.keys]
        for text in complaints(watchers(others), self._epochs.keys, all_keys):
            self._epochs.warn_once(text, text)
