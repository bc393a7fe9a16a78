"""A group of commands that are imported when they run."""

from __future__ import annotations

import sys
from typing import Any

from typer.main import get_command

from motet.answers.printable import printable
from services.cli.checks.streams import OutputError, end_output, prepare_streams
from services.cli.commands import Group


class LazyGroup(Group):
    """A group that imports a command when the command runs or shows its help.

    Each function registered in the group imports a command and returns the command's `typer.Typer`. The function's
    docstring is the command's help. Importing all commands takes longer than showing the group's help.
    """

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run a command to the end of the process. An error of standard output is one line."""
        prepare_streams()
        try:
            try:
                return super().main(*arguments, **options)
            finally:
                sys.stdout.flush()
        except (BrokenPipeError, OutputError) as error:
            sys.exit(end_output(error))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the imported command and the remaining arguments."""
        name, registered, rest = super().resolve_command(ctx, args)
        if registered is None or registered.callback is None:
            return name, registered, rest
        command = get_command(registered.callback())
        command.help = registered.help
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command. An argument in the message of a usage error cannot control the terminal."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            # Typer does not export the base class of its usage errors.
            if isinstance(message := getattr(error, "message", None), str):
                error.message = printable(message)  # type: ignore[attr-defined]
            raise
