"""SVG charts for the HTML page: text stays text, colours follow the light or dark mode of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

INK = "#010203"
"""Placeholder for the text colour of the page."""

IDS = "@chart-"
"""Prefix of all ids in a chart. The page replaces it by a number, since ids of several charts must differ."""

COLOURS = ("#3b7dd8", "#e0862f", "#3aa66b", "#c64f6f", "#8a63d2", "#9a8a1f", "#2fa3b5", "#a0653a")
"""Colours that are readable on white and on dark grey."""

Points = Sequence[tuple[float, float]]


def curves(
    series: Mapping[str, Points], *, x: str, y: str, log: bool = False, marks: bool = True, width: float = 6.4
) -> str:
    """A line chart with one line of (x, y) points for each name."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, NullFormatter

    figure, axes = _figure(width, 3.0)
    for number, (name, points) in enumerate(series.items()):
        if not points:
            continue
        xs, ys = zip(*points, strict=True)
        mark = {"marker": "o", "markersize": 3} if marks and len(points) <= 60 else {}
        axes.plot(xs, ys, color=COLOURS[number % len(COLOURS)], linewidth=1.5, label=name, **mark)
    if log and all(value > 0 for points in series.values() for _, value in points):
        values = [value for points in series.values() for _, value in points]
        axes.set_yscale("log")
        plain = FuncFormatter(lambda value, position: f"{value:g}")
        axes.yaxis.set_major_formatter(plain)
        # Over less than a power of ten there may be no major tick.
        axes.yaxis.set_minor_formatter(plain if max(values) < 10 * min(values) else NullFormatter())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if len(series) > 1:
        axes.legend(frameon=False, labelcolor=INK, fontsize=8)
    return _svg(figure)


def bars(names: Sequence[str], values: Sequence[float], intervals: Sequence[tuple[float, float]], *, x: str) -> str:
    """A horizontal bar chart with an interval for each bar."""
    figure, axes = _figure(6.4, 0.8 + 0.34 * len(names))
    positions = range(len(names))
    below = [max(0.0, value - low) for value, (low, _) in zip(values, intervals, strict=True)]
    above = [max(0.0, high - value) for value, (_, high) in zip(values, intervals, strict=True)]
    axes.barh(positions, values, color=COLOURS[0], height=0.62)
    axes.errorbar(values, positions, xerr=[below, above], fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
    axes.set_yticks(list(positions), list(names))
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(x)
    return _svg(figure)


def _figure(width: float, height: float):  # type: ignore[no-untyped-def]  # matplotlib has no types that mypy reads
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_facecolor("none")
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
    axes.tick_params(which="both", colors=INK, labelsize=8)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.grid(color=INK, alpha=0.12, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure) -> str:  # type: ignore[no-untyped-def]
    from matplotlib import rc_context

    target = io.StringIO()
    # Names are arbitrary text: a dollar sign is not a formula.
    with rc_context({"svg.fonttype": "none", "text.parse_math": False, "svg.hashsalt": "aigc_zoo"}):
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    text = target.getvalue()
    text = text[text.index("<svg") :]
    text = text.replace(INK, "currentColor").replace(
        "font-family: 'DejaVu Sans', 'Bitstream Vera Sans'", "font-family: inherit"
    )
    # The chart is as wide as its container, up to its own width.
    width, height = (re.search(rf'{side}="([0-9.]+)pt"', text) for side in ("width", "height"))
    assert width is not None
    assert height is not None
    text = text.replace(width[0], 'width="100%"', 1).replace(height[0], f'style="max-width: {width[1]}pt"', 1)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{IDS}\1"', text)
    return re.sub(r"(url\(#|href=\"#)", rf"\g<1>{IDS}", text)
