"""The callback for skorch's nets."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

from accuracy_from_weights.callbacks.base import AccuracyCallback, guarded, share_done
from accuracy_from_weights.callbacks.other_callbacks import watchers, watching
from accuracy_from_weights.errors import needs
from accuracy_from_weights.features.task import declared_task

with needs("This callback needs skorch", extra="skorch"):
    from skorch.callbacks import Callback

__all__ = ["AccuracyFromWeights"]


class AccuracyFromWeights(AccuracyCallback, Callback):
    """skorch callback that records an estimate of the accuracy in a net's history.

    Records ``accuracy_from_weights`` with ``_low``, ``_high`` (fractions in [0, 1]) and
    ``_in_family`` (0 or 1), and ``accuracy_from_weights_best``, whether the epoch is the best so
    far, with or without validation data. Training is bit for bit what it is without it.

    Place it **before** the callbacks that use it, and set ``lower_is_better=False`` in
    EarlyStopping::

        NeuralNetClassifier(
            Module,
            train_split=None,
            callbacks=[
                AccuracyFromWeights(),
                EarlyStopping("accuracy_from_weights", lower_is_better=False),
            ],
        )

    The parameters are those of `AccuracyCallback`. To be read, the training accuracy has to be
    recorded by ``EpochScoring("accuracy", name="train_acc", on_train=True)`` before this; skorch
    records the loss, and ``valid_acc`` where there is a ``train_split``. A `stopping` rule ends the
    run the way skorch's EarlyStopping does, so callbacks after this one do not see that last
    epoch. The planned length is the net's ``max_epochs``; each ``partial_fit`` adds as many.

    Notes
    -----
    When an estimate fails, whatever the cause, there is one warning and training goes on. The last
    known accuracy is recorded with the interval [0, 1] and ``_in_family`` 0. Such an epoch is never
    ``_best`` and is not counted against the patience of an EarlyStopping. Where no accuracy was
    ever known, nothing is recorded, except where a callback monitors it, which would raise on a
    missing key: 0 is recorded then.

    A net that is cloned (in a grid search) shares the predictor with its copies.
    """

    log_advice = (
        'put EpochScoring("accuracy", name="train_acc", on_train=True) before this, or name it in '
        "`log_keys`"
    )
    anchor_advice = (
        "give the net a `train_split`, which records valid_acc, or name what is recorded in "
        "`anchor_on`"
    )
    forecast_advice = "give the net `max_epochs`"

    def initialize(self) -> AccuracyFromWeights:
        """Take up the parameters; skorch calls this whenever it makes or sets up a net."""
        self._set_up()
        return self

    def _set_up(self) -> None:
        super()._set_up()
        self._best: float | None = None
        self._begun_at = 0

    def _get_param_names(self) -> list[str]:
        # skorch's own way takes all attributes, of which there are others.
        return list(inspect.signature(type(self)).parameters)

    def __sklearn_clone__(self) -> AccuracyFromWeights:
        # scikit-learn's own way would clone the predictor, too, and so unfit it.
        parameters = self.get_params(deep=False)
        return type(self)(**{**parameters, "stopping": copy.deepcopy(self.stopping)})

    @property
    def all_keys(self) -> tuple[str, ...]:
        """All names that may be recorded, ``_best`` among them."""
        return (*super().all_keys, f"{self.name}_best")

    @guarded
    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Start or resume a run, and look for callbacks that use the estimate in a wrong way."""
        self._begun_at = len(net.history)
        resumed = self._begun_at > 0
        self.start_run(resumed)
        if not resumed:
            self._best = None
        self.guard("looking at the other callbacks", lambda: self._review(net))

    @guarded
    def on_batch_begin(
        self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """See the shape of the inputs, where it is needed, in the first batch."""
        if training and self.wants_batch:
            self.see_batch(batch)

    @guarded
    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Estimate and record; end the run where the rule says so."""
        seen = self.estimate_epoch((net, dataset_train), len(net.history) - 1)
        accuracy = seen.values[self.name]
        best = seen.known and not seen.failed and (self._best is None or accuracy > self._best)
        if best:
            self._best = accuracy
        what = "looking at the other callbacks"
        if seen.known or self.guard(what, lambda: self._is_watched(net)) is not False:
            for key, value in {**seen.values, f"{self.name}_best": best}.items():
                net.history.record(key, value)
        self.hold_patience(watching(_callbacks(net), seen.stand_ins), "misses_")
        if self.should_stop:
            raise KeyboardInterrupt  # skorch's way to end training, and to keep what was learnt

    @guarded
    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Keep EarlyStopping from restoring an epoch that was best by no known accuracy."""
        if self._best is None:
            for callback in watching(_callbacks(net), self.keys):
                if hasattr(callback, "best_model_weights_"):
                    callback.best_model_weights_ = None

    def network(self, run: tuple[Any, Any]) -> Any:
        """Return the net's module."""
        return run[0].module_

    def declared_task(self, run: tuple[Any, Any]) -> str | None:
        """Return what the net's class, its criterion and its module declare."""
        net = run[0]
        kinds = {kind.__name__ for kind in type(net).__mro__}
        if "NeuralNetBinaryClassifier" in kinds:
            return "binary"
        loss = "mse" if "NeuralNetRegressor" in kinds else getattr(net, "criterion_", None)
        return declared_task(net.module_, loss, net.history[-1])

    def training_metrics(self, run: tuple[Any, Any]) -> Mapping[str, Any]:
        """Return the last row of the history, which holds what validation has found, too."""
        row: Mapping[str, Any] = run[0].history[-1]
        return row

    validation_metrics = training_metrics

    def n_samples(self, run: tuple[Any, Any]) -> int | None:
        """Return the number of samples that the net trains on."""
        return len(run[1])

    def progress(self, run: tuple[Any, Any]) -> float | None:
        """Return the share of ``max_epochs`` that is done, after those of earlier calls."""
        net = run[0]
        return share_done(len(net.history), self._begun_at + net.max_epochs)

    def _is_watched(self, net: Any) -> bool:
        return any(True for _ in watching(_callbacks(net), self.all_keys))

    def _review(self, net: Any) -> None:
        callbacks = _callbacks(net)
        found = [
            watcher._replace(mode="min" if getattr(cb, "lower_is_better", False) else "max")
            for cb in callbacks
            for watcher in watchers([cb])
            if isinstance(cb.monitor, str)
        ]
        self.review(found, callbacks)
        for callback in watching(self.those_before(callbacks), self.all_keys):
            self.warn_of_place(callback)


def _callbacks(net: Any) -> list[Any]:
    return [callback for _, callback in getattr(net, "callbacks_", [])]
