"""Commands of `motet bench` for reports: all of them, their tables, and the hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.bench.benchmark import app
from services.cli.checks.paths import check_file, check_folder, check_input, check_input_folder
from services.cli.commands import Command
from services.cli.exit import exit_after
from services.cli.typer_options import path_of
from services.exit_codes import Exit


@app.command(name="all", cls=Command)
def run_all(
    out: Annotated[Path, typer.Option(parser=path_of, metavar="DIR", help="Folder of the reports and plots.")],
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Run this benchmark; repeatable.")] = None,
) -> None:
    """Run each benchmark in its own process, and write the reports. It takes minutes and needs an idle machine."""

    def run() -> Exit:
        from services.benchmarks.run_all import run_all as run_benchmarks

        check_folder(out)
        return Exit.FAILED if run_benchmarks(out, only or ()) else Exit.OK

    raise exit_after(run)


@app.command(cls=Command)
def table(
    folder: Annotated[Path, typer.Argument(parser=path_of, metavar="DIR", help="Folder of the reports.")],
    into: Annotated[
        Path | None,
        typer.Option(parser=path_of, metavar="FILE", help="Write the table between the marks of FILE."),
    ] = None,
) -> None:
    """Print the reports of a folder as Markdown tables, or write the tables into a document."""

    def show() -> Exit:
        from services.benchmarks.run_all import put_table, table_of

        check_input_folder(folder)
        if into is None:
            print(table_of(folder))
        else:
            check_input(into)
            check_file(into)
            put_table(folder, into)
        return Exit.OK

    raise exit_after(show)


@app.command(cls=Command)
def hardware() -> None:
    """Print the hardware of this machine, as reports contain it."""

    def show() -> Exit:
        import json

        from services.benchmarks.reports.hardware import hardware as detect

        print(json.dumps(detect(), indent=1))
        return Exit.OK

    raise exit_after(show)
