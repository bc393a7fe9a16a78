"""How a command ends: one exit code and, for what was to be expected, one clear line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer

from motet.core.errors import MotetError, SettingsError
from services.exit_codes import Exit, exit_of_error
from services.lazy import unfinished

_OWN = ("motet", "orchestrator", "services")


def exit_after(command: Callable[[], Exit], as_json: bool = False) -> typer.Exit:
    """Run a command to its end; `raise` what this returns. Errors that are not Motet's own keep their tracebacks."""
    ended = _ended(command, as_json)
    if unfinished():
        # The interpreter's end would kill that thread inside a C++ library, and the process with it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.exit_code)
    return ended


def _ended(command: Callable[[], Exit], as_json: bool) -> typer.Exit:
    try:
        return typer.Exit(command())
    except KeyboardInterrupt:
        print("motet: stopped", file=sys.stderr)
        return typer.Exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the answer has gone; nor must the interpreter's last flush complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return typer.Exit(Exit.FAILED)
    except ModuleNotFoundError as error:
        if (package := (error.name or "").partition(".")[0]) in _OWN:
            raise
        return refuse(SettingsError(f"{package} is not installed: pip install 'motet[models]'"), as_json)
    except MotetError as error:
        return refuse(error, as_json)


def refuse(error: MotetError, as_json: bool = False) -> typer.Exit:
    """Tell an error in one line and, for programs, as JSON; `raise` what this returns."""
    if as_json:
        from services.cli.screens.json_lines import write_error

        write_error(error)
    print(f"motet: {error.message} ({error.reason})", file=sys.stderr)
    return typer.Exit(exit_of_error(error))
