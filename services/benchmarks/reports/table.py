"""Reports as people read them."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table

from services.benchmarks.reports.report import Figure, Report

_WIDE = 140
"""Columns where nobody says how many there are."""

_MET = {True: "met", False: "MISSED", None: ""}


def print_report(report: Report, console: Console | None = None) -> None:
    """A line on the machine, a table of the figures, and the notes."""
    console = console or Console(width=None if sys.stdout.isatty() else _WIDE)
    machine = report.hardware
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ", no GPU"
    console.print(f"{report.name} on {machine['processor']}, {machine['cores']} cores{gpus}", highlight=False)
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("figure", "value", "baseline", "ratio", "bar", ""):
        table.add_column(name, justify="right" if name in ("value", "ratio") else "left")
    for figure in report.figures:
        table.add_row(*row(figure))
    console.print(table)
    for note in report.notes:
        console.print(f"- {note}", highlight=False)


def row(figure: Figure) -> tuple[str, ...]:
    """A figure's cells: name, value, baseline, ratio, bar, whether it is met."""
    baseline = f"{figure.baseline.name}: {number(figure.baseline.value, figure.unit)}" if figure.baseline else ""
    ratio = "" if figure.ratio is None else f"{figure.ratio:.3g} x"
    return figure.name, number(figure.value, figure.unit), baseline, ratio, figure.bar_text, _MET[figure.met]


def number(value: float, unit: str) -> str:
    """A value to three digits or to the unit, whichever says more."""
    return f"{value:.0f} {unit}".rstrip() if abs(value) >= 1000 else f"{value:.3g} {unit}".rstrip()
