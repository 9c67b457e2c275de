"""Accuracy and loss among the numbers that a framework logs, whatever the user called them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from accuracy_from_weights.errors import InvalidArgumentError

_ACCURACIES = (
    "accuracy",
    "acc",
    "sparse_categorical_accuracy",
    "categorical_accuracy",
    "binary_accuracy",
    "multiclass_accuracy",
)
_STEMS = {"accuracy": _ACCURACIES, "loss": ("loss",)}
TRAINING = ("train_", "training_", "")
VALIDATION = ("val_", "valid_", "validation_", "eval_")


class LogReader:
    """Finds training accuracy and loss, and the accuracy on validation data, among metrics.

    Parameters
    ----------
    log_keys
        The names of training accuracy and loss, each of which may be None; None to search.
    anchor_on
        The name of the validation accuracy, or None to search.
    advice
        What to do where the training accuracy is missing: a clause that follows a colon.
    say
        Called as ``say(topic, text)`` with what the user should know.
    """

    def __init__(
        self, log_keys: Any, anchor_on: Any, advice: str, say: Callable[[str, str], None]
    ) -> None:
        self.names: dict[str, str | None] = {"accuracy": None, "loss": None}
        if log_keys is not None:
            if (
                isinstance(log_keys, str)
                or not isinstance(log_keys, Sequence)
                or len(log_keys) != 2
                or not all(key is None or isinstance(key, str) for key in log_keys)
            ):
                raise InvalidArgumentError(
                    "Invalid value for argument `log_keys`. Expected the names under which the "
                    "training accuracy and the training loss are logged, such as "
                    f"('train_acc', 'train_loss'). Received: {log_keys!r}."
                )
            self.names = dict(zip(self.names, log_keys, strict=True))
        if anchor_on is not None and not (isinstance(anchor_on, str) and anchor_on):
            raise InvalidArgumentError(
                "Invalid value for argument `anchor_on`. Expected the name of a validation "
                f"accuracy, such as 'val_accuracy'. Received: {anchor_on!r}."
            )
        self.anchor_on = anchor_on
        self._advice = advice
        self._say = say

    def training(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Return ``{"accuracy": fraction, "loss": nats}``, or what of it is there.

        What is missing or cannot be right is said, once each.
        """
        found = {}
        for meaning, name in self.names.items():
            key = find(metrics, _STEMS[meaning], TRAINING) if name is None else name
            value = None if key is None or key not in metrics else _number(metrics[key])
            if key is None or key not in metrics:
                what = f"the training {meaning}, which features='weights+probes+log' reads,"
                todo = self._advice if meaning == "accuracy" else "log it, too"
                without = " Without it there is no estimate." if meaning == "accuracy" else ""
                logged = ", ".join(map(repr, metrics)) or "nothing"
                self._say(
                    f"no training {meaning}",
                    f"{what} is not logged: {todo}.{without}"
                    if name is None
                    else f"{what} was to be {name!r}, which is not logged. Logged are: "
                    f"{logged}.{without}",
                )
            elif meaning == "loss" and value is not None and math.isfinite(value):
                found[meaning] = value
            elif meaning == "accuracy" and (fraction := self._fraction(key, value)) is not None:
                found[meaning] = fraction
        return found

    def validation_key(self, metrics: Mapping[str, Any], prefixes: Sequence[str]) -> str | None:
        """Return the name of the validation accuracy among `metrics`; None where it is missing."""
        if self.anchor_on is not None:
            return self.anchor_on if self.anchor_on in metrics else None
        return find(metrics, _ACCURACIES, prefixes)

    def validation(
        self, metrics: Mapping[str, Any], prefixes: Sequence[str] = VALIDATION
    ) -> float | None:
        """Return the accuracy on validation data, a fraction; None where it is not there."""
        key = self.validation_key(metrics, prefixes)
        return None if key is None else self._fraction(key, _number(metrics[key]))

    def _fraction(self, name: str, value: float | None) -> float | None:
        """Return an accuracy that is a fraction in [0, 1]; say, once, of one that is none."""
        if value is not None and 0 <= value <= 1:
            return value
        if value is None or math.isfinite(value):
            self._say(
                f"no fraction {name}",
                f"an accuracy has to be a fraction in [0, 1]. Received: {name!r} of {value}, "
                "which is left aside.",
            )
        return None


def find(metrics: Mapping[str, Any], stems: Sequence[str], prefixes: Sequence[str]) -> str | None:
    """Return the first name among `metrics` that is a prefix and a stem, as they are ordered.

    ``train/Acc`` and ``train_acc_epoch`` count as ``train_acc``.
    """
    plain: dict[str, str] = {}
    for name in metrics:
        if isinstance(name, str):
            words = re.sub(r"[^a-z0-9]+", "_", name.lower())
            plain.setdefault(words, name)
            plain.setdefault(words.removesuffix("_epoch"), name)
    wanted = (prefix + stem for prefix in prefixes for stem in stems)
    return next((plain[name] for name in wanted if name in plain), None)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # PyTorch's, for a tensor of several numbers
        return None
