"""Plots as SVG text to stand inside a page: no script, no outside resource, letters as letters."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ascend_runtime.evaluate.classes import Curve

BLUE, GREY, ORANGE, RED, GREEN = "#2563eb", "#94a3b8", "#ea580c", "#dc2626", "#16a34a"
_SETTINGS = {
    "svg.fonttype": "none",  # text stays text: the reader's fonts have Chinese, ours may not
    "svg.hashsalt": "ascend-jobs",  # the same numbers give the same file
    "text.parse_math": False,  # a label may hold a dollar sign
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}
_ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 3, "frameon": False}
"""Where a legend hides no line."""
_LONGEST_LABEL = 32
_MOST_CLASSES = 30
"""Classes of a confusion matrix that is drawn; above, only its table in metrics.json is of use."""


@dataclass(frozen=True)
class Bar:
    """One bar: a share from 0 to 1 of a number of questions, and the baseline's where there is one."""

    label: str
    share: float
    count: int
    baseline: float | None = None


@dataclass(frozen=True)
class LoadPoint:
    """One load: how many requests at once, or a second; what came out; how long the first token took."""

    load: float
    throughput: float
    """Tokens a second."""
    first_token: float
    """Milliseconds, P99."""


def bars(rows: Sequence[Bar], names: tuple[str, str]) -> str:
    """Draw shares as horizontal bars; `names` are those of target and baseline."""
    has_baseline = any(row.baseline is not None for row in rows)

    def draw(axes: Axes) -> None:
        places = list(range(len(rows)))
        height = 0.4 if has_baseline else 0.7
        offset = height / 2 if has_baseline else 0.0
        axes.barh([p - offset for p in places], [row.share for row in rows], height, color=BLUE, label=names[0])
        if has_baseline:
            values = [row.baseline or 0.0 for row in rows]
            axes.barh([p + offset for p in places], values, height, color=GREY, label=names[1])
            axes.legend(**_ABOVE)
        axes.set_yticks(places, [f"{_clean(row.label)} ({row.count})" for row in rows])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.grid(axis="x", color="#e2e8f0")
        axes.set_axisbelow(True)

    return _svg(draw, 7.5, 0.6 + len(rows) * (0.32 if has_baseline else 0.24))


def confusion(labels: Sequence[str], matrix: Sequence[Sequence[int]], axis_names: tuple[str, str, str]) -> str | None:
    """Draw counts of right (rows) against given labels; `axis_names` are given, right, unread. None if too many."""
    if len(labels) > _MOST_CLASSES:
        return None
    given, right, unread = axis_names
    columns = [*map(_clean, labels), unread]

    def draw(axes: Axes) -> None:
        shares = [[count / max(1, sum(row)) for count in row] for row in matrix]
        places = range(len(columns)), range(len(labels))
        axes.pcolormesh(*places, shares, cmap="Blues", vmin=0, vmax=1, shading="nearest", edgecolors="white")
        axes.invert_yaxis()
        for y, row in enumerate(matrix):
            for x, count in enumerate(row):
                color = "white" if shares[y][x] > 0.5 else "#334155"
                axes.text(x, y, str(count), ha="center", va="center", color=color)
        axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right")
        axes.set_yticks(range(len(labels)), columns[:-1])
        axes.set_xlabel(given)
        axes.set_ylabel(right)

    size = 1.8 + 0.55 * len(columns)
    return _svg(draw, max(4.0, size), max(2.4, size - 0.6))


def roc(curves: Mapping[str, Curve], areas: Mapping[str, float], axis_names: tuple[str, str]) -> str:
    """Draw ROC curves; `axis_names` are those of the false and the true positive rate."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
        for label, curve in list(curves.items())[:10]:
            name = f"{_clean(label)} ({areas[label]:.3f})"
            axes.plot(curve.false_positive, curve.true_positive, label=name, linewidth=1.5)
        axes.set_xlabel(axis_names[0])
        axes.set_ylabel(axis_names[1])
        axes.set_aspect("equal")
        axes.legend(loc="lower right", frameon=False)

    return _svg(draw, 4.8, 4.4)


def load(points: Sequence[LoadPoint], saturation: float | None, words: tuple[str, str, str, str]) -> str:
    """Draw throughput and first-token time over the load; `words`: load, throughput, first token, saturation."""
    load_name, throughput, first_token, saturated = words

    def draw(axes: Axes) -> None:
        loads = [point.load for point in points]
        (line,) = axes.plot(loads, [point.throughput for point in points], "o-", color=BLUE, label=throughput)
        axes.set_xlabel(load_name)
        axes.set_ylabel(throughput)
        axes.set_ylim(bottom=0)
        axes.set_xticks(loads, [f"{value:g}" for value in loads])
        right = axes.twinx()
        right.spines["right"].set_visible(True)
        (other,) = right.plot(loads, [point.first_token for point in points], "s--", color=ORANGE, label=first_token)
        right.set_ylabel(first_token)
        right.set_ylim(bottom=0)
        handles = [line, other]
        if saturation is not None:
            handles.append(axes.axvline(saturation, color=RED, linestyle=":", label=saturated))
        axes.legend(handles=handles, **_ABOVE)

    return _svg(draw, 7.0, 3.4)


def trend(runs: Sequence[int], lines: Mapping[str, Sequence[float | None]], run_name: str) -> str:
    """Draw metrics over runs; a run without the metric leaves a gap."""

    def draw(axes: Axes) -> None:
        for name, values in lines.items():
            numbers = [float("nan") if value is None else value for value in values]
            axes.plot(range(len(runs)), numbers, "o-", markersize=3.5, linewidth=1.4, label=_clean(name))
        axes.set_xticks(range(len(runs)), [str(run) for run in runs])
        axes.set_xlabel(run_name)
        axes.grid(axis="y", color="#e2e8f0")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)

    return _svg(draw, 7.0, 2.8)


def _svg(draw: Callable[[Axes], None], width: float, height: float) -> str:
    """Draw into a figure of that size in inches and return its <svg> element."""
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # our measuring font lacks Chinese; the reader's does not
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    found = text.getvalue()
    element = found[found.index("<svg") :]
    return re.sub(r"<metadata>.*?</metadata>\s*", "", element, flags=re.DOTALL)


def _clean(text: str) -> str:
    """Return a label in one short line, without characters that XML forbids."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_LABEL else line[: _LONGEST_LABEL - 1] + "…"
