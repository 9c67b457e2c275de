"""The callback for ``model.fit`` of Keras 3, on any of its backends."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from accuracy_from_weights.callbacks.base import AccuracyCallback, guarded, share_done
from accuracy_from_weights.callbacks.evidence import VALIDATION
from accuracy_from_weights.callbacks.other_callbacks import caller, watchers, watching
from accuracy_from_weights.errors import InvalidArgumentError, needs
from accuracy_from_weights.weights import inner_model

with needs("This callback needs Keras 3 with one of its backends", extra="keras"):
    import keras

__all__ = ["AccuracyFromWeights"]


class AccuracyFromWeights(AccuracyCallback, keras.callbacks.Callback):
    """Keras callback that adds an estimate of the accuracy to the logs of each epoch.

    The logs gain ``accuracy_from_weights`` with ``_low``, ``_high`` (fractions in [0, 1]) and
    ``_in_family`` (0 or 1), so that History, the progress bar, EarlyStopping, ModelCheckpoint,
    CSVLogger, TensorBoard and any other callback see them. It looks at no data, and training is bit
    for bit what it is without it.

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

    The parameters are those of `AccuracyCallback`. `validate` may also be data, as ``evaluate``
    takes it: ``(x, y)``, ``(x, y, sample_weight)`` or a data set; then the model has to be compiled
    with an accuracy among its metrics. `stopping` is started afresh by each ``fit`` that begins at
    epoch 0.

    Notes
    -----
    When an estimate fails, whatever the cause, there is one warning and training goes on as it
    would have. The keys are left out until there has been a first estimate; Keras' EarlyStopping
    ignores such epochs. After it, the last accuracy is repeated with the interval [0, 1] and
    ``_in_family`` 0, so that ModelCheckpoint does not take the epoch for its best, and the epoch
    is not counted against the patience of an EarlyStopping. A ModelCheckpoint that writes the
    estimate into its file names gets 0 where nothing is known, since it would crash without.

    Keras has no place for the state of a callback: where `BackupAndRestore` is not enough, keep
    what `state_dict` returns yourself.
    """

    log_advice = 'compile with metrics=["accuracy"], or name it in `log_keys`'
    anchor_advice = (
        'pass validate=(x, y), or give `fit` validation data, and compile with metrics=["accuracy"]'
    )
    forecast_advice = "call `fit` with `epochs`, or pass `planned_epochs`"

    _begun = False
    _epoch = 0
    _neighbours: list[Any]

    @guarded
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Look for callbacks that use the estimate in a wrong way."""
        self._begun = False
        self._neighbours = []
        self.guard("looking at the other callbacks", self._review)

    @guarded
    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start a run at its first epoch, which is not 0 where an earlier run is resumed."""
        if not self._begun:
            self._begun = True
            self.start_run(resumed=epoch > 0)

    @guarded
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the estimate into `logs`, the one dict that Keras hands to every callback."""
        self._epoch = epoch
        self.guard("reading the shape of an input", self._find_input_shape, "the estimate")
        seen = self.estimate_epoch(logs or {}, epoch)
        if logs is not None and (seen.known or self._is_in_a_file_name()):
            logs.update(seen.values)
            self.hold_patience(watching(self._neighbours, seen.stand_ins), "wait")
        if self.should_stop:
            self.model.stop_training = True

    def network(self, run: Any) -> Any:
        """Return the model."""
        # self.model, not self._model: it brings the weights of the JAX backend up to date.
        return self.model

    def training_metrics(self, run: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the logs of the epoch, which hold those of validation, too."""
        return run

    validation_metrics = training_metrics

    def measure(self, network: Any) -> float | None:
        """Return the accuracy that `validate` measures, or that ``evaluate`` finds on it."""
        data = self.validate
        if callable(data):
            return super().measure(network)
        arguments = data if isinstance(data, tuple) else (data,)
        parts = dict(zip(("x", "y", "sample_weight"), arguments, strict=False))
        measured = network.evaluate(**parts, verbose=0, return_dict=True)
        accuracy = self._reader.validation(measured, ("", *VALIDATION))
        if accuracy is None:
            raise InvalidArgumentError(
                "the model is not compiled with an accuracy, but with the metrics "
                f'{", ".join(measured)}; compile with metrics=["accuracy"]'
            )
        return accuracy

    def agree(self, run: Any, is_due: bool) -> bool:
        """Return True also where JAX trains in several processes, which cannot be asked."""
        jax = sys.modules["jax"] if keras.backend.backend() == "jax" else None
        return super().agree(run, is_due or (jax is not None and jax.process_count() > 1))

    def n_samples(self, run: Any) -> int | None:
        """Return the number of samples that ``fit`` iterates over."""
        return _samples_of_fit()

    def progress(self, run: Any) -> float | None:
        """Return the share of ``fit(epochs=...)`` that is done."""
        return share_done(self._epoch + 1, (self.params or {}).get("epochs"))

    def _find_input_shape(self) -> None:
        if self._judge.lacks_shape:
            network, _ = inner_model(self.model, self.part)
            shape = getattr(network, "input_shape", None)
            if isinstance(shape, tuple) and len(shape) > 1 and all(shape[1:]):
                self._judge.input_shape = tuple(shape[1:])

    def _review(self) -> None:
        fit = caller(
            lambda it: isinstance(it, keras.callbacks.CallbackList) and self in it.callbacks
        )
        self._neighbours = [] if fit is None else list(fit.callbacks)
        others = [cb for cb in self._neighbours if not isinstance(cb, AccuracyFromWeights)]
        for cb in watching(others, self.keys):
            if getattr(cb, "mode", None) == "auto":
                # Keras would raise at the end of the first epoch, since it knows the direction of
                # its own metrics only.
                cb.mode = "max"
                self.warn_once(
                    f"mode of {id(cb)}",
                    f"{type(cb).__name__} monitors {cb.monitor!r} without a `mode`, which Keras "
                    "refuses for any name but its own metrics'. It is set to mode='max'; pass "
                    "that yourself.",
                )
        self.review(watchers(others), self._neighbours)
        self._review_averaging()
        for cb in self.those_before(self._neighbours):
            if isinstance(cb, AccuracyFromWeights) and cb.name == self.name:
                self.warn_once(
                    "two of a name",
                    f"two callbacks log under the name {self.name!r} and the later one "
                    "overwrites the other. Pass a `name` to one of them.",
                )
            elif getattr(cb, "monitor", None) in self.keys or isinstance(
                cb, (keras.callbacks.CSVLogger, keras.callbacks.TensorBoard)
            ):
                self.warn_of_place(cb)

    def _review_averaging(self) -> None:
        """Warn where the optimizer averages the weights and the average is not what is read."""
        swaps = [
            cb
            for cb in self.those_before(self._neighbours)
            if type(cb).__name__ == "SwapEMAWeights" and getattr(cb, "swap_on_epoch", False)
        ]
        if getattr(self.model.optimizer, "use_ema", False) and not swaps:
            self.warn_once(
                "averaging",
                "the optimizer averages the weights (use_ema=True) and puts the average into the "
                "model when training ends. The estimates are of the weights before that; to "
                "estimate the average, put keras.callbacks.SwapEMAWeights(swap_on_epoch=True) "
                "first.",
            )

    def _is_in_a_file_name(self) -> bool:
        paths = [str(getattr(cb, "filepath", "")) for cb in self._neighbours]
        return any("{" + key in path for path in paths for key in self.keys)


def _samples_of_fit() -> int | None:
    """Return how many samples the ``fit`` on the stack iterates over; None where unknown.

    Keras tells its callbacks the number of batches alone, and not their size.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        adapter = getattr(frame.f_locals.get("epoch_iterator"), "data_adapter", None)
        if adapter is not None:
            batches, size = adapter.num_batches, adapter.batch_size
            if not batches or not size or not math.isfinite(batches):
                return None
            last = adapter.partial_batch_size if adapter.has_partial_batch else None
            return int((batches - 1) * size + (last or size))
        frame = frame.f_back
    return None
