"""Readers of what a training run tells beside the weights: logs, input shapes, examples.

Accuracy and loss among the logged metrics, the shape of an input, and the number of training
samples, whatever the framework and whatever names the user has chosen.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import InvalidArgumentError, invalid_argument
from accuracy_from_weights.features.input_spec import on_host
from accuracy_from_weights.features.log_columns import (
    LOG_SPELLINGS,
    TRAINING_PREFIXES,
    plain_spelling,
)
from accuracy_from_weights.features.probes.undisturbed import preserved_random_states
from accuracy_from_weights.features.training_sample.sample import SAMPLE_SIZE

VALIDATION = ("val_", "valid_", "validation_", "eval_")
"""What stands before the name of a metric on validation data."""

_USUAL_INPUTS = ("pixel_values", "image", "images", "inputs", "input", "x")
_USUAL_CLASSES = ("labels", "label", "targets", "target", "y")
_LARGEST_BYTES = 1 << 26


class LogReader:
    """Reader of training accuracy, training loss and validation accuracy among logged metrics.

    `advice` says what to do where the training accuracy is missing, in a clause that follows a
    colon; it is None where a training sample stands in for what is not logged. `warn` is called as
    ``warn(topic, text)``.
    """

    def __init__(
        self, log_keys: Any, anchor_on: Any, advice: str | None, warn: Callable[[str, str], None]
    ) -> None:
        self.names: dict[str, str | None] = {"accuracy": None, "loss": None}
        if log_keys is not None:
            if (
                isinstance(log_keys, str)
                or not isinstance(log_keys, Sequence)
                or len(log_keys) != 2
                or not all(key is None or isinstance(key, str) for key in log_keys)
            ):
                wanted = (
                    "the names of training accuracy and loss, as in ('train_acc', 'train_loss')"
                )
                raise invalid_argument("log_keys", log_keys, wanted)
            self.names = dict(zip(self.names, log_keys, strict=True))
        if anchor_on is not None and not (isinstance(anchor_on, str) and anchor_on):
            wanted = "the name of the validation accuracy, such as 'val_accuracy'"
            raise invalid_argument("anchor_on", anchor_on, wanted)
        self.anchor_on = anchor_on
        self._advice = advice
        self._warn = warn

    def training(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Return ``{"accuracy": fraction, "loss": nats}``, or as much of it as there is.

        There is one warning for each number that is missing or cannot be right.
        """
        found = {}
        for meaning, name in self.names.items():
            key = find(metrics, meaning, TRAINING_PREFIXES) if name is None else name
            value = None if key is None or key not in metrics else _number(metrics[key])
            if key is None or key not in metrics:
                self._warn_missing(meaning, name, metrics)
            elif meaning == "loss" and value is not None and math.isfinite(value):
                found[meaning] = value
            elif meaning == "accuracy" and (fraction := self._fraction(key, value)) is not None:
                found[meaning] = fraction
        return found

    def _warn_missing(self, meaning: str, name: str | None, metrics: Mapping[str, Any]) -> None:
        what = f"the training {meaning}, which this feature set reads,"
        then = " Without it there is no estimate." if meaning == "accuracy" else ""
        if self._advice is None:
            then = " That of the training sample stands in for it."
        if name is not None:
            logged = ", ".join(map(repr, metrics)) or "nothing"
            text = f"{what} was to be {name!r}, which is not logged. Logged are: {logged}.{then}"
        elif self._advice is not None:
            advice = self._advice if meaning == "accuracy" else "log it, too"
            text = f"{what} is not logged: {advice}.{then}"
        else:
            return
        self._warn(f"no training {meaning}", text)

    def validation(
        self, metrics: Mapping[str, Any], prefixes: Sequence[str] = VALIDATION
    ) -> float | None:
        """Return the accuracy on validation data, a fraction; None where it is not there."""
        key = self.anchor_on or find(metrics, "accuracy", prefixes)
        if key is None or key not in metrics:
            return None
        return self._fraction(key, _number(metrics[key]))

    def _fraction(self, name: str, value: float | None) -> float | None:
        """Return an accuracy that is a fraction in [0, 1]; warn once about any other number."""
        if value is not None and 0 <= value <= 1:
            return value
        if value is None or math.isfinite(value):
            self._warn(
                f"no fraction {name}",
                f"{name!r} is {value}, which is not a fraction in [0, 1] as an accuracy has to "
                "be, so it is not used.",
            )
        return None


def find(metrics: Mapping[str, Any], meaning: str, prefixes: Sequence[str]) -> str | None:
    """Return the first name that is one of `prefixes` and of ``LOG_SPELLINGS[meaning]``."""
    plain: dict[str, str] = {}
    for name in metrics:
        if isinstance(name, str):
            plain.setdefault(plain_spelling(name), name)
    wanted = (prefix + spelling for prefix in prefixes for spelling in LOG_SPELLINGS[meaning])
    return next((plain[name] for name in wanted if name in plain), None)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # PyTorch's, for a tensor of several numbers
        return None


def samples_of(loader: Any) -> int | None:
    """Return how many samples a loader's epoch holds; None where nothing tells, as with a stream.

    The length of its data set counts, else the number of batches times their size.
    """
    known = _length(getattr(loader, "dataset", None))
    if known is None:
        batches, size = _length(loader), getattr(loader, "batch_size", None)
        known = None if batches is None or not isinstance(size, int) else batches * size
    return known


def _length(something: Any) -> int | None:
    try:
        return len(something) or None
    except (TypeError, NotImplementedError, AttributeError):
        return None


def input_shape_of(batch: Any) -> tuple[int, ...] | None:
    """Return the shape of one example in an array, tuple, list or mapping, without the batch axis.

    The first array that can be an input counts; in a mapping, one with a usual name comes first.
    None where nothing can be an input: labels have one axis, and token numbers two.
    """
    shape = getattr(batch, "shape", None)
    if shape is not None:
        is_float = "float" in str(getattr(batch, "dtype", ""))
        usable = len(shape) > 2 or (len(shape) == 2 and is_float)
        return tuple(int(length) for length in shape[1:]) if usable else None
    parts: Iterable[Any] = ()
    if isinstance(batch, Mapping):
        named = [batch[name] for name in _USUAL_INPUTS if name in batch]
        parts = [*named, *batch.values()]
    elif isinstance(batch, (tuple, list)):
        parts = batch
    return next((shape for part in parts if (shape := input_shape_of(part)) is not None), None)


class FirstExamples:
    """Training examples with their classes from the first batches of a run.

    Up to 1,024 of them are kept, from which a sample is chosen that is balanced over the classes;
    fewer where they are large.
    """

    def __init__(self) -> None:
        self._batches: list[tuple[dict[str, Any], Any]] = []
        self._count = self._bytes = 0

    @property
    def is_complete(self) -> bool:
        """Whether no further batch is needed."""
        enough = self._count >= SAMPLE_SIZE
        return enough and (self._count >= 4 * SAMPLE_SIZE or self._bytes >= _LARGEST_BYTES)

    def add(self, batch: Any) -> None:
        """Keep copies of inputs and classes, or raise `InvalidArgumentError` where there are none.

        A batch is (inputs, classes), or a mapping with the classes under a usual name.
        """
        inputs, classes = _inputs_and_classes(batch)
        kept = {name: np.array(on_host(values)) for name, values in inputs.items()}
        self._batches.append((kept, np.array(on_host(classes))))
        self._count += len(self._batches[-1][1])
        self._bytes += sum(values.nbytes for values in kept.values())

    def examples(self) -> tuple[Any, NDArray[Any]] | None:
        """Return inputs and classes; None where no batch was kept."""
        if not self._batches:
            return None
        first = self._batches[0][0]
        joined: dict[str, Any] = {}
        for name in first:
            parts = [_as_wide(inputs[name], first, name) for inputs, _ in self._batches]
            joined[name] = np.concatenate(parts)
        # One array alone is the network's first argument, whatever the batch calls it.
        inputs = joined if len(joined) > 1 else next(iter(joined.values()))
        return inputs, np.concatenate([classes for _, classes in self._batches])


def _as_wide(values: NDArray[Any], first: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """Return sequences of tokens as long as those of the first batch: each batch has its length."""
    if values.ndim != 2 or values.shape[1] == first[name].shape[1]:
        return values
    width = first[name].shape[1]
    return np.pad(values[:, :width], ((0, 0), (0, max(width - values.shape[1], 0))))


def _inputs_and_classes(batch: Any) -> tuple[dict[str, Any], Any]:
    """Return inputs by name, which is empty for an array alone, and classes."""
    classes = None
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        batch, classes = batch
    elif isinstance(batch, Mapping):
        name = next((name for name in _USUAL_CLASSES if name in batch), None)
        classes = None if name is None else batch[name]
        batch = {key: value for key, value in batch.items() if key != name}
    if isinstance(batch, Mapping):
        inputs = {key: value for key, value in batch.items() if hasattr(value, "shape")}
    else:
        inputs = {"": batch} if hasattr(batch, "shape") else {}
    if not inputs or not hasattr(classes, "shape"):
        raise InvalidArgumentError(
            "no inputs and classes were found in the first batch; pass sample=(x, y) with a few "
            "hundred training examples"
        )
    return inputs, classes


@contextlib.contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Put the random states and the mode of each PyTorch module back after validation.

    A data loader of PyTorch draws a seed from the global generator even where it shuffles nothing,
    and Keras on PyTorch leaves a model that it has evaluated in evaluation mode.
    """
    modules = list(model.modules()) if callable(getattr(model, "modules", None)) else []
    modes = [module.training for module in modules]
    torch = sys.modules.get("torch")
    try:
        with preserved_random_states(), contextlib.ExitStack() as stack:
            if torch is not None:
                gpus = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
                stack.enter_context(torch.random.fork_rng(devices=gpus))
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
