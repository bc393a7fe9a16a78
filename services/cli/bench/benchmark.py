"""A benchmark as a command of `motet bench`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel

from services.cli.checks.paths import check_file, check_input
from services.cli.checks.streams import STDOUT, check_open
from services.cli.commands import Command, Group
from services.cli.exit import exit_after
from services.cli.typer_options import options_of, path_of, with_options
from services.exit_codes import Exit
from services.factory import open_bundle
from services.settings import settings_of

if TYPE_CHECKING:
    from services.benchmarks.reports.report import Report

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None, add_completion=False)

Benchmark = Callable[..., "Report"]


def benchmark(kind: type[BaseModel], **spellings: str) -> Callable[[Benchmark], Benchmark]:
    """Make a function a command of `motet bench`, with the options of a settings model.

    `spellings` maps a field's name to an option whose name differs from the field's. The exit code is 1 if a figure
    misses its bar.
    """

    def decorate(measure: Benchmark) -> Benchmark:
        def command(
            as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
            out: Annotated[
                Path | None, typer.Option(parser=path_of, metavar="FILE", help="Write the report to FILE as JSON.")
            ] = None,
            **options: Any,
        ) -> None:
            def present() -> Exit:
                check_open(STDOUT)
                settings = settings_of(kind, options).model_dump()
                _check_paths(settings | {"out": out})
                report = measure(**settings)
                if out is not None:
                    report.write(out)
                if as_json:
                    print(report.json())
                else:
                    from services.benchmarks.reports.table import print_report

                    print_report(report)
                return Exit.OK if report.met else Exit.FAILED

            raise exit_after(present, as_json)

        command.__doc__ = measure.__doc__
        app.command(measure.__name__, cls=Command)(with_options(options_of(kind, **spellings))(command))
        return measure

    return decorate


def _check_paths(settings: Mapping[str, Any]) -> None:
    """Check the files that a benchmark reads and writes, and its bundle."""
    for names, check in ((("out", "plot"), check_file), (("trace_file", "costs", "peer_python"), check_input)):
        for name in names:
            if settings.get(name) is not None:
                check(settings[name])
    if settings.get("bundle") is not None:
        open_bundle(settings["bundle"], ())
