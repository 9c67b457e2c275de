"""The estimate in ``model.fit`` of Keras 3, on any of its backends."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from accuracy_from_weights.callbacks._forecasts import share_done
from accuracy_from_weights.callbacks._guarding import harmless
from accuracy_from_weights.callbacks._logs import VALIDATION, LogReader
from accuracy_from_weights.callbacks._monitors import (
    caller,
    complaints,
    hold_patience,
    watchers,
    watching,
)
from accuracy_from_weights.callbacks._samples import samples_of_fit
from accuracy_from_weights.callbacks._undisturbed import undisturbed
from accuracy_from_weights.callbacks.base import DEFAULT_NAME, EpochEstimator, Estimator
from accuracy_from_weights.errors import InvalidArgumentError, number_between

if TYPE_CHECKING:
    from accuracy_from_weights.stopping.rules import Decision, StoppingRule

__all__ = ["AccuracyFromWeights"]


class AccuracyFromWeights(keras.callbacks.Callback):
    """Add an estimate of the accuracy, made from the weights alone, to the logs of each epoch.

    The logs gain ``accuracy_from_weights`` with ``_low``, ``_high`` (fractions in [0, 1]) and
    ``_in_family`` (0 or 1), so that History, the progress bar, EarlyStopping, ModelCheckpoint,
    CSVLogger, TensorBoard and any other callback see them. No data is looked at, and training is
    bit for bit what it is without this callback.

    Place it **before** the callbacks that use it, and give those ``mode="max"``::

        model.fit(
            x,
            y,
            epochs=50,
            callbacks=[
                AccuracyFromWeights(),
                keras.callbacks.EarlyStopping("accuracy_from_weights", mode="max", patience=5),
            ],
        )

    Parameters
    ----------
    predictor
        An `AccuracyPredictor`, the path of a saved one, or None for the one that ships, which is
        loaded at the first epoch. Defaults to None.
    every_n_epochs
        Estimate at epochs 0, n, 2n, ... (the first epoch of a resumed run always has one); between
        them the last value is repeated, so that no callback misses its key. The patience of an
        EarlyStopping counts epochs, not estimates. Defaults to 1.
    name
        The key of the accuracy and the stem of the others; two callbacks with different names
        work side by side. Defaults to ``"accuracy_from_weights"``.
    stopping
        A rule from `accuracy_from_weights.stopping` that is told each new estimate and may end
        the run; its reason is printed. Started afresh by each ``fit`` that begins at epoch 0.
        Defaults to None.
    verbose
        Whether to print each new estimate. Defaults to False.
    features
        What the predictor that ships is to look at: ``"weights"``, ``"weights+probes"`` (also the
        model's answers to synthetic inputs), or ``"weights+probes+log"`` (also training accuracy
        and loss, read from the logs: compile with ``metrics=["accuracy"]``). Defaults to what
        `predictor` was fitted to, and to ``"weights"`` without one.
    input_shape
        For probes: the shape of one example without the batch's axis. Defaults to the model's.
    log_keys
        The names of training accuracy and loss in the logs. Defaults to a search for usual ones.
    anchor_every
        Anchor the estimates to true accuracies: measured on `validation_data` at epochs 0, n, 2n,
        ..., or else taken from the logs where ``fit`` validated, at most every n epochs. The last
        one is logged as ``accuracy_from_weights_anchor``. Defaults to None, for no anchor.
    validation_data
        For `anchor_every`: ``(x, y)`` or ``(x, y, sample_weight)``, a data set as ``evaluate``
        takes it, or a function of the model that returns its accuracy, a fraction. The model has
        to be compiled with an accuracy among its metrics, except for a function. Defaults to None.
    anchor_on
        The name of the validation accuracy in the logs. Defaults to a search for usual ones.
    forecast
        Whether to log also what accuracy the run will end with, as ``accuracy_from_weights_final``
        with ``_final_low`` and ``_final_high``, where the predictor can tell, which looks at the
        network a second time. Of the run, ``fit(epochs=...)`` tells how much is done. Defaults to
        False.

    Attributes
    ----------
    decision
        The stopping rule's last `Decision`, with its reason; None without a rule.

    Notes
    -----
    When an estimate fails, whatever the cause, there is one warning and training goes on as it
    would have. Until there has been a first estimate the keys are left out, which Keras'
    EarlyStopping passes over. After it, the last accuracy is repeated with the interval [0, 1] and
    ``_in_family`` 0, so that ModelCheckpoint does not take the epoch for its best, and the epoch
    is not counted against the patience of an EarlyStopping. A ModelCheckpoint that writes the
    estimate into its file names gets 0 where nothing is known, since it would crash without.
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
        validation_data: Any = None,
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
            anchor_advice="pass it validation_data=(x, y), or give `fit` validation data, and "
            'compile with metrics=["accuracy"]',
            forecast=forecast,
            forecast_advice="call `fit` with `epochs`",
        )
        self._reader = LogReader(
            log_keys,
            anchor_on,
            'compile with metrics=["accuracy"], or name it in `log_keys`',
            self._epochs.warn_once,
        )
        if validation_data is not None and anchor_every is None:
            raise InvalidArgumentError(
                "Invalid value for argument `validation_data`. Expected None without "
                "`anchor_every`, which says how often to use it. Received: validation data."
            )
        self._validation_data = validation_data
        self._begun = False
        self._neighbours: list[Any] = []

    @property
    def decision(self) -> Decision | None:
        """The stopping rule's last decision; None without a rule."""
        return self._epochs.decision

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, in plain numbers, strings, lists and dicts.

        Keras has no place for it: keep it yourself where `BackupAndRestore` is not enough.
        """
        return self._epochs.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave, in a ``fit`` with an ``initial_epoch``."""
        self._epochs.load_state_dict(state_dict)

    @harmless
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Look for other callbacks that use the estimate and cannot, and say so."""
        self._begun = False
        self._neighbours = []
        self._epochs.guard("looking at the other callbacks", self._review)

    @harmless
    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start a run at its first epoch, which is not 0 where an earlier run is resumed."""
        if not self._begun:
            self._begun = True
            self._epochs.begin(resumed=epoch > 0)

    @harmless
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the estimate into `logs`, the one dict that Keras hands to every callback."""
        # self.model, not self._model: it brings the weights of the JAX backend up to date.
        self._epochs.guard("reading the shape of an input", self._find_input_shape, "the estimate")
        seen = self._epochs.observe(
            lambda: self.model,
            epoch,
            log=lambda: self._reader.training(logs or {}),
            truth=lambda: self._truth(logs or {}),
            share=lambda: share_done(epoch + 1, (self.params or {}).get("epochs")),
            samples=samples_of_fit,
        )
        if logs is not None and (seen.known or self._is_in_a_file_name()):
            logs.update(seen.values)
            if seen.stand_ins:
                self._epochs.guard(
                    "holding the patience of other callbacks",
                    lambda: hold_patience(watching(self._neighbours, seen.stand_ins), "wait"),
                )
        if self._epochs.should_stop:
            self.model.stop_training = True

    def _find_input_shape(self) -> None:
        if self._epochs.wants_batch:
            shape = getattr(self.model, "input_shape", None)
            if isinstance(shape, tuple) and len(shape) > 1 and all(shape[1:]):
                self._epochs.judge.input_shape = tuple(shape[1:])

    def _truth(self, logs: Mapping[str, Any]) -> float | None:
        data = self._validation_data
        if data is None:
            return self._reader.validation(logs)
        model, everywhere = self.model, ("", *VALIDATION)
        with undisturbed(model):
            if callable(data):
                return number_between("validation_data", float(data(model)), 0.0, 1.0)
            arguments = data if isinstance(data, tuple) else (data,)
            parts = dict(zip(("x", "y", "sample_weight"), arguments, strict=False))
            measured = model.evaluate(**parts, verbose=0, return_dict=True)
        if self._reader.validation_key(measured, everywhere) is None:
            raise InvalidArgumentError(
                "Expected an accuracy among the metrics that the model is compiled with, such as "
                f'metrics=["accuracy"]. Received: {", ".join(measured)}.'
            )
        return self._reader.validation(measured, everywhere)

    def _review(self) -> None:
        fit = caller(
            lambda it: isinstance(it, keras.callbacks.CallbackList) and self in it.callbacks
        )
        self._neighbours = [] if fit is None else list(fit.callbacks)
        keys = self._epochs.keys
        others = [cb for cb in self._neighbours if not isinstance(cb, AccuracyFromWeights)]
        ours = [cb for cb in self._neighbours if isinstance(cb, AccuracyFromWeights)]
        for cb in watching(others, keys):
            if getattr(cb, "mode", None) == "auto":
                # Keras would raise at the end of the first epoch, since it knows the direction of
                # its own metrics only.
                cb.mode = "max"
                self._epochs.warn_once(
                    f"mode of {id(cb)}",
                    f"{type(cb).__name__} monitors {cb.monitor!r} without a `mode`, which Keras "
                    "refuses for any name but its own metrics'. It is set to mode='max'; pass "
                    "that yourself.",
                )
        for text in complaints(
            watchers(others), keys, [key for cb in ours for key in cb._epochs.known_keys]
        ):
            self._epochs.warn_once(text, text)
        for cb in self._neighbours[: _place(self, self._neighbours)]:
            if cb in ours and cb._epochs.name == self._epochs.name:
                text = (
                    f"two callbacks log under the name {self._epochs.name!r} and the later one "
                    "overwrites the other. Pass a `name` to one of them."
                )
            elif getattr(cb, "monitor", None) in keys or isinstance(
                cb, (keras.callbacks.CSVLogger, keras.callbacks.TensorBoard)
            ):
                text = (
                    f"{type(cb).__name__} stands before it in the list of callbacks and will not "
                    f"see {self._epochs.name!r}. Put AccuracyFromWeights first."
                )
            else:
                continue
            self._epochs.warn_once(text, text)

    def _is_in_a_file_name(self) -> bool:
        paths = [str(getattr(cb, "filepath", "")) for cb in self._neighbours]
        return any("{" + key in path for path in paths for key in self._epochs.keys)


def _place(callback: Any, callbacks: list[Any]) -> int:
    return next((at for at, other in enumerate(callbacks) if other is callback), 0)
