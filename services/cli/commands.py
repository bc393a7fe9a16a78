"""The classes of all commands and groups: their help, and the order of typed options."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

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
