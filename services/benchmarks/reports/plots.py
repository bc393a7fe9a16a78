"""Plots of measurements. They need matplotlib, which the extra `bench` installs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from motet.core.errors import SettingsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CRITICAL, _OTHER = "#c0392b", "#8fa8c0"
_NOTE_SPACE = 1.25
"""Width of a Gantt chart with notes, as a multiple of the latest end."""


@dataclass(frozen=True, slots=True)
class GanttBar:
    """The time of one worker in a Gantt chart, in seconds. `marks` are times of signals. Critical bars are red.

    `inputs` are the names of the bars whose output this one takes. An arrow leads from the end of each to the start.
    A light bar shows the time from `waits_from` to the start. `note` is a text at the end of the bar.
    """

    name: str
    start: float
    end: float
    critical: bool = False
    marks: tuple[float, ...] = ()
    inputs: tuple[str, ...] = ()
    waits_from: float | None = None
    note: str = ""


def gantt_chart(path: Path, bars: Sequence[GanttBar], title: str) -> None:
    """Write a Gantt chart. The suffix of the file selects the format. Raises `SettingsError` without matplotlib."""
    figure, axes = _canvas(8, 0.6 + 0.5 * len(bars))
    for index, bar in enumerate(bars):
        colour = _CRITICAL if bar.critical else _OTHER
        axes.barh(index, bar.end - bar.start, left=bar.start, height=0.6, color=colour)
        if bar.waits_from is not None:
            wait = bar.start - bar.waits_from
            axes.barh(index, wait, left=bar.waits_from, height=0.6, color="none", edgecolor=colour, hatch="//")
        if bar.note:
            axes.text(bar.end, index, f" {bar.note}", va="center", fontsize=7, parse_math=False)
        for mark in bar.marks:
            axes.plot([mark, mark], [index - 0.3, index + 0.3], color="black", linewidth=1)
        for row, taken in enumerate(bars):
            if taken.name in bar.inputs:
                arrow = {"arrowstyle": "->", "color": "black"}
                axes.annotate("", xy=(bar.start, index), xytext=(taken.end, row), arrowprops=arrow)
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars], parse_math=False)
    axes.invert_yaxis()
    if any(bar.note for bar in bars):
        axes.set_xlim(0, _NOTE_SPACE * max(bar.end for bar in bars))
    waits = ", hatched: wait" if any(bar.waits_from is not None for bar in bars) else ""
    axes.set_xlabel(f"seconds; red: critical path, black line: signal, arrow: input{waits}")
    axes.set_title(title, fontsize=10, parse_math=False)
    _save(figure, path)


def line_chart(path: Path, xs: Sequence[float], lines: Mapping[str, Sequence[float | None]], x: str, y: str) -> None:
    """Write a line chart. A point with the value None is left out. Raises `SettingsError` without matplotlib."""
    figure, axes = _canvas(7, 4)
    for name, ys in lines.items():
        points = [(at, value) for at, value in zip(xs, ys, strict=True) if value is not None]
        axes.plot([at for at, _ in points], [value for _, value in points], marker="o", label=name)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _save(figure, path)


def require_matplotlib() -> None:
    """Raise `SettingsError` without matplotlib. Call it before a measurement that a plot follows."""
    _canvas(1, 1)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure as Canvas
    except ModuleNotFoundError:
        raise SettingsError("plots need matplotlib: pip install 'motet[bench]'") from None
    figure = Canvas(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
