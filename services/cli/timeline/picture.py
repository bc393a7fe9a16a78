"""The picture of a timeline. It has no prompt and no text of the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet.answers.printable import printable_line
from motet.answers.timeline import Timeline
from motet.core.errors import RequestError
from services.cli.checks.paths import check_file
from services.cli.timeline.words import result_of, totals_of
from services.cli.typer_options import path_of

_SUFFIXES = (".svg", ".png", ".pdf")
_VISIBLE = 0.002
"""Minimum wait to be drawn, as a share of the elapsed time."""

TimelineFile = Annotated[
    Path | None,
    typer.Option(
        "--timeline",
        parser=path_of,
        metavar="FILE",
        help="Draw the calls of workers and the critical path into this .svg, .png or .pdf file.",
    ),
]


def check_picture(file: Path) -> None:
    """Raise `RequestError` for a file that cannot be written, and `SettingsError` without matplotlib."""
    from services.benchmarks.reports.plots import require_matplotlib

    check_file(file)
    if file.suffix not in _SUFFIXES:
        raise RequestError(
            f"{file} has no format: let its name end with {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"
        )
    require_matplotlib()


def draw(timeline: Timeline, file: Path) -> None:
    """Draw a timeline into a file that `check_picture` has checked. Raises `RequestError` for a write error."""
    from services.benchmarks.reports.plots import GanttBar, gantt_chart

    bars = [
        GanttBar(
            printable_line(node.name),
            node.taken,
            node.end,
            node.critical,
            marks=node.signals,
            inputs=tuple(map(printable_line, node.inputs)),
            waits_from=node.requested if node.taken - node.requested >= _VISIBLE * timeline.elapsed else None,
            note=printable_line(result_of(node)),
        )
        for node in timeline.nodes
    ]
    try:
        gantt_chart(file, bars, printable_line(totals_of(timeline)))
    except OSError as error:
        raise RequestError(f"{file} cannot be written: {error.strerror}; name another file") from error
