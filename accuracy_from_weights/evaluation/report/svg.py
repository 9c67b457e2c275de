"""Matplotlib figures as inline SVG in the colours of the page."""

from __future__ import annotations

import re
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

from accuracy_from_weights.plots.axes import BLUE, ORANGE, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that nobody else uses, to be found again in the SVG: a page in dark mode changes them.
INK, RULE = "#010203", "#040506"
_OF_THE_PAGE = {INK: "currentColor", RULE: "var(--rule)", BLUE: "var(--blue)", ORANGE: "var(--red)"}

_WIDTH = 4.6
"""Inches: on a telephone the letters are then as large as those of the page."""


def new_axes(height: float = 3.4) -> Axes:
    """Return axes in the page's style, ``height`` inches high."""
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes: Axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(INK)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def as_svg(axes: Axes, alternative: str) -> str:
    """Return drawn axes as an ``<svg>`` element with its text alternative.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        From `new_axes`.
    alternative : str
        What somebody who does not see the picture should know.
    """
    import matplotlib

    figure: Any = axes.figure
    legend = axes.get_legend()
    for text in legend.get_texts() if legend is not None else ():
        text.set_color(INK)
    written = StringIO()
    # Text stays text, and equal figures give equal bytes. The salt keeps the names of two figures
    # in one page apart.
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": alternative}
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context(settings):
        figure.savefig(written, format="svg", transparent=True, dpi=200, metadata=nothing)
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    for drawn, shown in _OF_THE_PAGE.items():
        svg = re.sub(re.escape(drawn), shown, svg, flags=re.IGNORECASE)
    # Without a size of its own the picture takes that of the page.
    opening, rest = svg.split(">", 1)
    opening = re.sub(r' (?:width|height)="[^"]*"', "", opening)
    return f'{opening} role="img" aria-label="{escape(alternative)}">{rest}'
