"""The end of a command: its exit code and, for an expected error, one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer

from motet.core.errors import MotetError, SettingsError
from services.cli.checks.streams import OutputError, end_output
from services.exit_codes import Exit, exit_of_error
from services.lazy import loading
from services.terminal import print_error, print_status

_OWN_PACKAGES = ("motet", "orchestrator", "services")


def exit_after(command: Callable[[], Exit], as_json: bool = False) -> typer.Exit:
    """Check the environment, run a command to its end, and return its exit for the caller to raise.

    A `MotetError` becomes one line on standard error, and a JSON line with `as_json`. Other errors keep their
    tracebacks.
    """
    try:
        result = _run(command, as_json)
        sys.stdout.flush()
    except (BrokenPipeError, OutputError) as error:
        result = typer.Exit(end_output(error))
    if loading():
        # The interpreter's shutdown kills a thread inside a C++ library, which aborts the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(result.exit_code)
    return result


def _run(command: Callable[[], Exit], as_json: bool) -> typer.Exit:
    try:
        # Help needs none of the settings classes, which take a tenth of a second to import.
        from services.cli.checks.environment import check_environment

        check_environment(os.environ)
        return typer.Exit(command())
    except KeyboardInterrupt:
        print_status("stopped")
        return typer.Exit(Exit.INTERRUPTED)
    except ModuleNotFoundError as error:
        if (package := (error.name or "").partition(".")[0]) in _OWN_PACKAGES:
            raise
        return _refuse(SettingsError(f"{package} is not installed: pip install 'motet[models]'"), as_json)
    except MotetError as error:
        return _refuse(error, as_json)


def _refuse(error: MotetError, as_json: bool) -> typer.Exit:
    if as_json:
        from services.cli.screens.json_lines import write_error

        write_error(error)
    print_error(error)
    return typer.Exit(exit_of_error(error))
