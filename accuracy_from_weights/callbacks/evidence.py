"""What a callback finds in a training run beside the weights.

Accuracy and loss among the logged metrics, the shape of an input, and the number of training
samples, whatever the framework and whatever names the user has chosen.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from accuracy_from_weights.errors import invalid_argument
from accuracy_from_weights.features.log_columns import (
    LOG_SPELLINGS,
    TRAINING_PREFIXES,
    plain_spelling,
)
from accuracy_from_weights.features.probes.undisturbed import preserved_random_states

VALIDATION = ("val_", "valid_", "validation_", "eval_")
"""What stands before the name of a metric on validation data."""

_USUAL_INPUTS = ("pixel_values", "image", "images", "inputs", "input", "x")


class LogReader:
    """Reader of training accuracy, training loss and validation accuracy among logged metrics.

    Parameters
    ----------
    log_keys
        Names of the training accuracy and the training loss, each of which may be None; None to
        search for usual names.
    anchor_on
        Name of the validation accuracy, or None to search for usual names.
    advice
        What to do where the training accuracy is missing: a clause that follows a colon.
    warn
        Called as ``warn(topic, text)`` with what the user should know.
    """

    def __init__(
        self, log_keys: Any, anchor_on: Any, advice: str, warn: Callable[[str, str], None]
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
        without = " Without it there is no estimate." if meaning == "accuracy" else ""
        if name is None:
            advice = self._advice if meaning == "accuracy" else "log it, too"
            text = f"{what} is not logged: {advice}.{without}"
        else:
            logged = ", ".join(map(repr, metrics)) or "nothing"
            text = f"{what} was to be {name!r}, which is not logged. Logged are: {logged}.{without}"
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
    """Return the first name among `metrics` that is a prefix and a spelling, in their order.

    Parameters
    ----------
    metrics
        Values by name.
    meaning
        A key of `LOG_SPELLINGS`: "accuracy" or "loss".
    prefixes
        What may stand before the spelling.
    """
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
    """Return how many samples an epoch holds; None where nothing tells, as with a stream.

    Parameters
    ----------
    loader
        What yields the batches. The length of its data set counts, else the number of batches
        times their size.
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
    """Return the shape of one example in a batch, without the batch axis.

    Parameters
    ----------
    batch
        An array whose first axis counts examples, or a tuple, list or mapping that holds one. The
        first array that can be an input counts; in a mapping, one with a usual name comes first.

    Returns
    -------
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
