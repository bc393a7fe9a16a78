"""The classes of all commands and groups: their help, their import when they run, and the order of typed options."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from motet.answers.printable import printable
from services.cli.checks.streams import OutputError, end_output, prepare_streams
from services.exit_codes import LEGEND

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}

_EXAMPLES = Path(__file__).with_name("examples.toml")
_ORDER = "motet.order"


class Command(TyperCommand):
    """A command whose help ends with the exit codes and two examples."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the end of the help."""
        _write_end(ctx, formatter)


class OrderedCommand(Command):
    """A command that records the names of its typed options, in the order of the command line.

    The values of a repeatable option are in one list, which does not show their order among other options.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Record the order, and parse the arguments."""
        _, _, parameters = self.make_parser(ctx).parse_args(list(args))
        ctx.meta[_ORDER] = [parameter.name for parameter in parameters]
        return super().parse_args(ctx, args)


class Group(TyperGroup):
    """A group whose help has the whole description of each command, and ends as that of a `Command`."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the name and the description of each command."""
        rows = [(name, " ".join((self.commands[name].help or "").split())) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the end of the help."""
        _write_end(ctx, formatter)


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


def typed_order(context: typer.Context) -> list[str]:
    """Return the name of each typed option and argument of an `OrderedCommand`, in order, repetitions included."""
    order: list[str] = context.meta[_ORDER]
    return order


def examples_of(path: str) -> list[str]:
    """Return the examples of a command, such as "serve decoder". The path "" is `motet` itself."""
    examples: list[str] = tomllib.loads(_EXAMPLES.read_text(encoding="utf-8")).get(path, [])
    return examples


def _write_end(ctx: Any, formatter: Any) -> None:
    names = []
    while ctx.parent is not None:
        names.append(ctx.info_name)
        ctx = ctx.parent
    formatter.write_paragraph()
    formatter.write_text(LEGEND)
    with formatter.section("Examples"):
        for example in examples_of(" ".join(reversed(names))):
            # A line that is wrapped could not be copied.
            formatter.write(f"{'':{formatter.current_indent}}{example}\n")
