"""A tracker that keeps what the charts that it is handed show."""

from __future__ import annotations

import matplotlib.figure


class Taken:
    """What a tracker was handed: the lines of each figure by name, and the steps."""

    def __init__(self) -> None:
        self.charts: list[dict[str, list[float]]] = []
        self.steps: list[int] = []

    def __call__(self, figure: matplotlib.figure.Figure, step: int) -> None:
        (axes,) = figure.axes
        assert len(axes.collections) == 1, "the band of the interval"
        self.steps.append(step)
        self.charts.append({line.get_label(): list(line.get_ydata()) for line in axes.lines})

    @property
    def estimates(self) -> list[list[float]]:
        return [chart["estimate"] for chart in self.charts]

    @property
    def truths(self) -> list[list[float] | None]:
        return [chart.get("true accuracy on held-out data") for chart in self.charts]
