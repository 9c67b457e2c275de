"""Accuracies that are known beside those that are estimated, and the predictor anchored to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from accuracy_from_weights._arguments import positive_int

if TYPE_CHECKING:
    from accuracy_from_weights.estimate import Estimate


class Truths:
    """The validated epochs of a run: what was estimated there without an anchor, and the truth.

    Parameters
    ----------
    every
        A truth is due at the first epoch and again n epochs after the last one. None where none is
        ever due.
    """

    def __init__(self, every: int | None) -> None:
        self.every = None if every is None else positive_int("anchor_every", every)
        self.clear()

    def clear(self) -> None:
        """Forget all truths, for a new run."""
        self._seen: list[tuple[int, Estimate, float]] = []
        self._anchored: Any = None
        self._missed_at: int | None = None

    def __bool__(self) -> bool:
        """Tell whether there is a truth, or was one that could not be had."""
        return bool(self._seen) or self._missed_at is not None

    @property
    def latest(self) -> float | None:
        """The last truth, a fraction; None where there is none."""
        return self._seen[-1][2] if self._seen else None

    def due(self, epoch: int) -> bool:
        """Tell whether a truth is to be had at this epoch."""
        if self.every is None:
            return False
        last = [
            at for at in (self._missed_at, *(seen[0] for seen in self._seen[-1:])) if at is not None
        ]
        return not last or epoch - max(last) >= self.every

    def miss(self, epoch: int) -> None:
        """Note that getting the truth of an epoch failed, so that it is not tried at each one."""
        self._missed_at = epoch

    def add(self, epoch: int, estimate: Estimate, accuracy: float) -> None:
        """Take the truth of an epoch, and what the predictor says of it without an anchor."""
        self._seen.append((epoch, estimate, float(accuracy)))
        self._anchored = None

    def anchor(self, predictor: Any) -> Any:
        """Return `predictor` anchored to all truths; itself where there is none."""
        if not self._seen:
            return predictor
        if self._anchored is None:
            _, estimates, accuracies = zip(*self._seen, strict=True)
            self._anchored = predictor.anchor(list(estimates), list(accuracies))
        return self._anchored

    def state_dict(self) -> list[list[Any]]:
        """Return epochs, estimates and truths in plain numbers, strings and lists."""
        return [
            [epoch, {name: _plain(value) for name, value in vars(estimate).items()}, accuracy]
            for epoch, estimate, accuracy in self._seen
        ]

    def load_state_dict(self, state: list[list[Any]]) -> None:
        """Go on from a state that `state_dict` gave."""
        self._seen = [
            (int(epoch), _estimate(numbers), float(accuracy)) for epoch, numbers, accuracy in state
        ]
        self._anchored = None


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, type(None))) else float(value)


def _estimate(numbers: Mapping[str, Any]) -> Estimate:
    from accuracy_from_weights.estimate import Estimate

    known = {field.name for field in fields(Estimate)}
    return Estimate(**{name: value for name, value in numbers.items() if name in known})
