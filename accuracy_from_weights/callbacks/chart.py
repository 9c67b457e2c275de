"""One picture of a run for its tracker: estimate, interval and truth up to the last epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from accuracy_from_weights.callbacks.processes import rank_and_number
from accuracy_from_weights.errors import invalid_argument
from accuracy_from_weights.plots.axes import require_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TRUTH = "truth"


class Chart:
    """Holder of what was estimated and measured in a run, which it draws for `chart_to`, if any."""

    def __init__(self, chart_to: Callable[[Figure, int], Any] | None, name: str) -> None:
        if chart_to is not None:
            if not callable(chart_to):
                wanted = "a function of a matplotlib figure and a step"
                raise invalid_argument("chart_to", chart_to, wanted)
            require_matplotlib()
            import matplotlib.pyplot  # noqa: F401 - W&B uses it without an import of its own
        self._chart_to = chart_to
        self._name = name
        self.clear()

    def clear(self) -> None:
        """Forget the last run."""
        self._rows: list[dict[str, float]] = []

    @property
    def wanted(self) -> bool:
        """Whether anybody takes the picture; of several processes, the first one draws alone."""
        return self._chart_to is not None and rank_and_number()[0] == 0

    def add(self, step: float, values: dict[str, float], truth: float | None) -> None:
        """Take what is logged and the true accuracy, if known, and hand the picture over."""
        known = {} if truth is None else {_TRUTH: truth}
        self._rows.append({"epoch": step, **values, **known})
        self._hand_over()

    def learn(self, step: float, truth: Callable[[], float | None]) -> None:
        """Ask for a truth that came after the estimate of its step, and hand over the picture."""
        row = self._rows[-1] if self.wanted and self._rows else {_TRUTH: 0.0}
        if _TRUTH not in row and row["epoch"] == step and (found := truth()) is not None:
            row[_TRUTH] = found
            self._hand_over()

    def _hand_over(self) -> None:
        from accuracy_from_weights.plots.training_run import plot_history

        known = any(_TRUTH in row for row in self._rows)
        axes = plot_history(self._rows, self._name, truth=_TRUTH if known else None)
        if self._chart_to is not None:
            self._chart_to(axes.figure.figure, int(self._rows[-1]["epoch"]))

    def state_dict(self) -> list[dict[str, float]]:
        """Return what a resumed run goes on with."""
        return self._rows

    def load_state_dict(self, state: list[dict[str, float]]) -> None:
        """Go on from a state that `state_dict` returned."""
        self._rows = [dict(row) for row in state]
