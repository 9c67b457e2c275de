"""True accuracies of a run's epochs, to which a callback anchors its estimates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from accuracy_from_weights.callbacks.failures import Guarded
from accuracy_from_weights.errors import positive_int

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.estimate import Estimate


class Truths:
    """The validated epochs of a run: their estimates without an anchor, and their accuracies.

    A truth is due at the first epoch and again `every` epochs after the last one. `advice` says
    where truths come from in this framework: a clause that follows a colon.
    """

    def __init__(self, every: int | None, guard: Guarded, advice: str) -> None:
        self.every = None if every is None else positive_int("anchor_every", every)
        self._guard = guard
        self._advice = advice
        self.clear()

    def clear(self) -> None:
        """Forget all truths, for a new run."""
        self._seen: list[tuple[int, Estimate, float]] = []
        self._anchored: Any = None
        self._missed_at: int | None = None
        self._first: int | None = None

    @property
    def latest(self) -> float | None:
        """The last truth, a fraction; None where there is none."""
        return self._seen[-1][2] if self._seen else None

    def at(self, epoch: int) -> float | None:
        """Return the truth of this epoch, a fraction; None where there is none."""
        return next((truth for at, _, truth in self._seen if at == epoch), None)

    def due(self, epoch: int) -> bool:
        """Return whether a truth is to be had at this epoch."""
        if self.every is None:
            return False
        last = [seen[0] for seen in self._seen[-1:]]
        last += [] if self._missed_at is None else [self._missed_at]
        return not last or epoch - max(last) >= self.every

    def learn(self, epoch: int, plain: Estimate, truth: Callable[[], float | None]) -> None:
        """Take the true accuracy of an epoch, if there is one, beside its plain estimate."""

        def take() -> bool:
            accuracy = truth()
            if accuracy is not None:
                self._seen.append((epoch, plain, float(accuracy)))
                self._anchored = None
            return True

        if self._guard.guard("getting the true accuracy", take) is None:
            self._missed_at = epoch  # so that it is not tried at each one
        if self._first is None:
            self._first = epoch
        is_late = self.every is not None and epoch - self._first >= self.every
        if is_late and not self._seen and self._missed_at is None:
            self._guard.warn_once(
                "no truth",
                f"no true accuracy to anchor to was found up to epoch {epoch}: {self._advice}.",
            )

    def anchor(self, predictor: Any) -> Any:
        """Return `predictor` anchored to all truths; itself where there is none."""
        if not self._seen:
            return predictor
        if self._anchored is None:
            _, estimates, accuracies = zip(*self._seen, strict=True)
            self._anchored = predictor.anchor(list(estimates), list(accuracies))
        return self._anchored

    def state_dict(self) -> list[list[Any]]:
        """Return what a resumed run goes on with."""
        return [
            [epoch, {name: _plain(value) for name, value in vars(estimate).items()}, accuracy]
            for epoch, estimate, accuracy in self._seen
        ]

    def load_state_dict(self, state: list[list[Any]]) -> None:
        """Go on from a state that `state_dict` returned."""
        self._seen = [
            (int(epoch), _estimate(numbers), float(accuracy)) for epoch, numbers, accuracy in state
        ]
        self._anchored = None


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, type(None))) else float(value)


def _estimate(numbers: Mapping[str, Any]) -> Estimate:
    from accuracy_from_weights.predictor.estimate import Estimate

    known = {field.name for field in fields(Estimate)}
    return Estimate(**{name: value for name, value in numbers.items() if name in known})
