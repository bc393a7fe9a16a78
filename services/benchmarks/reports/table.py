"""Reports as tables on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from services.benchmarks.reports.report import Report

COLUMNS = ("figure", "value", "baseline", "ratio", "bar", "")

_WIDTH = 140
"""Columns of the table if the output is not a terminal."""


def print_report(report: Report, console: Console | None = None) -> None:
    """Print a line about the machine, a table of the figures, and the notes."""
    console = console or Console(width=None if sys.stdout.isatty() else _WIDTH)
    machine = report.hardware
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ", no GPU"
    console.print(f"{report.name} on {machine['processor']}, {machine['cores']} cores{gpus}", highlight=False)
    table = Table(box=box.SIMPLE_HEAD)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("value", "ratio") else "left")
    for figure in report.figures:
        table.add_row(*figure_cells(figure.as_dict(), "MISSED"))
    console.print(table)
    for note in report.notes:
        console.print(f"- {note}", highlight=False)


def figure_cells(figure: Mapping[str, Any], missed: str) -> tuple[str, ...]:
    """Return the cells of a figure's JSON: name, value, baseline, ratio, bar and verdict, "met", `missed` or ""."""
    baseline, unit = figure["baseline"], figure["unit"]
    return (
        figure["name"],
        _with_unit(figure["value"], unit),
        f"{baseline['name']}: {_with_unit(baseline['value'], unit)}" if baseline else "",
        "" if figure["ratio"] is None else f"{figure['ratio']:.3g} x",
        figure["bar"] or "",
        {True: "met", False: missed, None: ""}[figure["met"]],
    )


def _with_unit(value: float, unit: str) -> str:
    """Return a value and its unit, with three significant digits or, from 1000 on, without decimals."""
    return f"{value:.0f} {unit}".rstrip() if abs(value) >= 1000 else f"{value:.3g} {unit}".rstrip()
