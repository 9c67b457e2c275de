"""The estimate in skorch's nets."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

from skorch.callbacks import Callback

from accuracy_from_weights.callbacks._forecasts import share_done
from accuracy_from_weights.callbacks._guarding import harmless
from accuracy_from_weights.callbacks._logs import LogReader
from accuracy_from_weights.callbacks._monitors import Watcher, complaints, hold_patience, watching
from accuracy_from_weights.callbacks.base import DEFAULT_NAME, EpochEstimator, Estimator

if TYPE_CHECKING:
    from accuracy_from_weights.stopping.rules import Decision, StoppingRule

__all__ = ["AccuracyFromWeights"]


class AccuracyFromWeights(Callback):
    """Record an estimate of the accuracy, made from the weights alone, in a net's history.

    Records ``accuracy_from_weights`` with ``_low``, ``_high`` (fractions in [0, 1]) and
    ``_in_family`` (0 or 1), and ``accuracy_from_weights_best``, whether the epoch is the best so
    far, with or without validation data. Training is bit for bit what it is without it.

    Place it **before** the callbacks that use it, and tell EarlyStopping that more is better::

        NeuralNetClassifier(
            Module,
            train_split=None,
            callbacks=[
                AccuracyFromWeights(),
                Checkpoint(monitor="accuracy_from_weights_best", load_best=True),
                EarlyStopping("accuracy_from_weights", lower_is_better=False),
            ],
        )

    Parameters
    ----------
    predictor
        An `AccuracyPredictor`, the path of a saved one, or None for the one that ships, which is
        loaded at the first epoch. Defaults to None.
    every_n_epochs
        Estimate at epochs 0, n, 2n, ... (skorch counts from 1); between them the last value is
        repeated. Defaults to 1.
    name
        The key of the accuracy and the stem of the others. Defaults to
        ``"accuracy_from_weights"``.
    stopping
        A rule from `accuracy_from_weights.stopping` that is told each new estimate and may end
        the run the way skorch's EarlyStopping does, so callbacks after this one do not see that
        last epoch; its reason is printed. Defaults to None.
    verbose
        Whether to print each new estimate. Defaults to False.
    features
        What the predictor that ships is to look at: ``"weights"``, ``"weights+probes"`` (also the
        module's answers to synthetic inputs), or ``"weights+probes+log"`` (also training accuracy
        and loss; skorch records the loss, and ``EpochScoring("accuracy", name="train_acc",
        on_train=True)`` before this the accuracy). Defaults to what `predictor` was fitted to, and
        to ``"weights"`` without one.
    input_shape
        For probes: the shape of one example without the batch's axis. Defaults to that of the
        first batch that passes.
    log_keys
        The names of training accuracy and loss in the history. Defaults to a search for usual
        ones.
    anchor_every
        Anchor the estimates to the validation accuracies in the history, at most one every n
        epochs; the last one is recorded as ``accuracy_from_weights_anchor``. Defaults to None, for
        no anchor.
    anchor_on
        The name of the validation accuracy in the history. Defaults to a search for usual ones,
        among them skorch's own ``valid_acc``.
    forecast
        Whether to log also what accuracy the run will end with, as ``accuracy_from_weights_final``
        with ``_final_low`` and ``_final_high``, where the predictor can tell, which looks at the
        network a second time. The net's ``max_epochs`` tells how much of the run is done; each
        ``partial_fit`` adds as many. Defaults to False.

    Attributes
    ----------
    decision
        The stopping rule's last `Decision`, with its reason; None without a rule.

    Notes
    -----
    When an estimate fails, whatever the cause, there is one warning and training goes on. Since
    EarlyStopping and Checkpoint raise on a missing key, the last known accuracy (0 where there is
    none) stands in, with the interval [0, 1] and ``_in_family`` 0. Such an epoch is never
    ``_best`` and is not counted against the patience of an EarlyStopping.

    A net that is cloned (in a grid search) shares the predictor with its copies.
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
        self.predictor = predictor
        self.every_n_epochs = every_n_epochs
        self.name = name
        self.stopping = stopping
        self.verbose = verbose
        self.features = features
        self.input_shape = input_shape
        self.log_keys = log_keys
        self.anchor_every = anchor_every
        self.anchor_on = anchor_on
        self.forecast = forecast
        self.initialize()

    def initialize(self) -> AccuracyFromWeights:
        """Take up the parameters; skorch calls this whenever it makes or sets up a net."""
        self.epochs_ = EpochEstimator(
            type(self).__name__,
            self.predictor,
            self.every_n_epochs,
            self.name,
            self.stopping,
            self.verbose,
            features=self.features,
            input_shape=self.input_shape,
            anchor_every=self.anchor_every,
            anchor_advice="give the net a `train_split`, which records valid_acc, or name what is "
            "recorded in `anchor_on`",
            forecast=self.forecast,
            forecast_advice="give the net `max_epochs`",
        )
        self.reader_ = LogReader(
            self.log_keys,
            self.anchor_on,
            'put EpochScoring("accuracy", name="train_acc", on_train=True) before this, or name it '
            "in `log_keys`",
            self.epochs_.warn_once,
        )
        self.best_: float | None = None
        self.begun_at_ = 0
        return self

    def __sklearn_clone__(self) -> AccuracyFromWeights:
        # scikit-learn's own way would clone the predictor, too, and so unfit it.
        parameters = self.get_params(deep=False)
        return type(self)(**{**parameters, "stopping": copy.deepcopy(self.stopping)})

    @property
    def _epochs(self) -> EpochEstimator:
        # Kept under a name that ends as those do which skorch takes for no parameters.
        return self.epochs_

    @property
    def decision(self) -> Decision | None:
        """The stopping rule's last decision; None without a rule."""
        return self.epochs_.decision

    @harmless
    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Start or go on with a run, and look for others that use the estimate and cannot."""
        self.begun_at_ = len(net.history)
        resumed = self.begun_at_ > 0
        self.epochs_.begin(resumed)
        if not resumed:
            self.best_ = None
        self.epochs_.guard("looking at the other callbacks", lambda: self._review(net))

    @harmless
    def on_batch_begin(
        self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """See the shape of the inputs, where it is needed, in the first batch."""
        if training and self.epochs_.wants_batch:
            self.epochs_.see_batch(batch)

    @harmless
    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Estimate and record; end the run where the rule says so."""
        row = net.history[-1]
        seen = self.epochs_.observe(
            lambda: net.module_,
            len(net.history) - 1,
            log=lambda: self.reader_.training(row),
            truth=lambda: self.reader_.validation(row),
            share=lambda: share_done(len(net.history), self.begun_at_ + net.max_epochs),
            samples=lambda: len(dataset_train),
        )
        accuracy = seen.values[self.name]
        best = seen.known and not seen.failed and (self.best_ is None or accuracy > self.best_)
        if best:
            self.best_ = accuracy
        for key, value in {**seen.values, f"{self.name}_best": best}.items():
            net.history.record(key, value)
        if seen.stand_ins:
            self.epochs_.guard(
                "holding the patience of other callbacks",
                lambda: hold_patience(watching(_callbacks(net), seen.stand_ins), "misses_"),
            )
        if self.epochs_.should_stop:
            raise KeyboardInterrupt  # skorch's way to end training, and to keep what was learnt

    @harmless
    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Keep EarlyStopping from restoring an epoch that was best by no known accuracy."""
        if self.best_ is None:
            for callback in watching(_callbacks(net), self.epochs_.keys):
                if hasattr(callback, "best_model_weights_"):
                    callback.best_model_weights_ = None

    def _review(self, net: Any) -> None:
        callbacks = _callbacks(net)
        keys = (*self.epochs_.keys, f"{self.name}_best")
        others = [cb for cb in callbacks if not isinstance(cb, AccuracyFromWeights)]
        ours = [cb for cb in callbacks if isinstance(cb, AccuracyFromWeights)]
        found = [
            Watcher(
                type(cb).__name__,
                cb.monitor,
                "min" if getattr(cb, "lower_is_better", False) else "max",
            )
            for cb in others
            if isinstance(getattr(cb, "monitor", None), str)
        ]
        all_keys = [key for cb in ours for key in (*cb.epochs_.known_keys, f"{cb.name}_best")]
        for text in complaints(found, keys, all_keys):
            self.epochs_.warn_once(text, text)
        place = next((at for at, cb in enumerate(callbacks) if cb is self), 0)
        for callback in watching(callbacks[:place], keys):
            text = (
                f"{type(callback).__name__} stands before it in the list of callbacks and will "
                f"not see {self.name!r}. Put AccuracyFromWeights first."
            )
            self.epochs_.warn_once(text, text)


def _callbacks(net: Any) -> list[Any]:
    return [callback for _, callback in getattr(net, "callbacks_", [])]
