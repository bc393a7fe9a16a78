"""Reports as tables on a terminal."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table

from services.benchmarks.reports.report import Figure, Report

_WIDTH = 140
"""Columns of the table if the output is not a terminal."""

_MET = {True: "met", False: "MISSED", None: ""}


def print_report(report: Report, console: Console | None = None) -> None:
    """Print a line about the machine, a table of the figures, and the notes."""
    console = console or Console(width=None if sys.stdout.isatty() else _WIDTH)
    machine = report.hardware
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ", no GPU"
    console.print(f"{report.name} on {machine['processor']}, {machine['cores']} cores{gpus}", highlight=False)
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("figure", "value", "baseline", "ratio", "bar", ""):
        table.add_column(name, justify="right" if name in ("value", "ratio") else "left")
    for figure in report.figures:
        table.add_row(*_cells(figure))
    console.print(table)
    for note in report.notes:
        console.print(f"- {note}", highlight=False)


def _cells(figure: Figure) -> tuple[str, ...]:
    """Return the cells of a figure: name, value, baseline, ratio, bar and verdict."""
    baseline = f"{figure.baseline.name}: {format_number(figure.baseline.value, figure.unit)}" if figure.baseline else ""
    ratio = "" if figure.ratio is None else f"{figure.ratio:.3g} x"
    return figure.name, format_number(figure.value, figure.unit), baseline, ratio, figure.bar_text, _MET[figure.met]


def format_number(value: float, unit: str) -> str:
    """Return a value and its unit, with three significant digits or, from 1000 on, without decimals."""
    return f"{value:.0f} {unit}".rstrip() if abs(value) >= 1000 else f"{value:.3g} {unit}".rstrip()
