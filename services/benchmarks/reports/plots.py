"""Pictures of what was measured. They need matplotlib, of the extra `bench`."""

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


@dataclass(frozen=True, slots=True)
class Row:
    """One worker's time in a Gantt picture, in seconds. `marks` are moments in it; red rows are critical."""

    name: str
    begun: float
    ended: float
    critical: bool = False
    marks: tuple[float, ...] = ()


def gantt(path: Path, rows: Sequence[Row], title: str) -> None:
    """Write a Gantt picture, its format by the file's ending. Raises `SettingsError` without matplotlib."""
    figure, axes = _canvas(8, 0.6 + 0.5 * len(rows))
    for place, row in enumerate(rows):
        colour = _CRITICAL if row.critical else _OTHER
        axes.barh(place, row.ended - row.begun, left=row.begun, height=0.6, color=colour)
        for mark in row.marks:
            axes.plot([mark, mark], [place - 0.3, place + 0.3], color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("seconds; red is the critical path, a black line a signal")
    axes.set_title(title, fontsize=10)
    _save(figure, path)


def curves(path: Path, xs: Sequence[float], lines: Mapping[str, Sequence[float | None]], x: str, y: str) -> None:
    """Write lines over the same x. Raises `SettingsError` without matplotlib."""
    figure, axes = _canvas(7, 4)
    for name, ys in lines.items():
        known = [(at, value) for at, value in zip(xs, ys, strict=True) if value is not None]
        axes.plot([at for at, _ in known], [value for _, value in known], marker="o", label=name)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _save(figure, path)


def check() -> None:
    """Raise `SettingsError` where plots cannot be drawn: better told before measuring than after."""
    _canvas(1, 1)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure as Drawn
    except ModuleNotFoundError:
        raise SettingsError("plots need matplotlib: pip install 'motet[bench]'") from None
    figure = Drawn(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
