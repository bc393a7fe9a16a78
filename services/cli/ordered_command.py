"""A command that knows the order of its typed options."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

_ORDER = "motet.order"


class OrderedCommand(TyperCommand):
    """A command that records the names of its typed options, in the order of the command line.

    The values of a repeatable option are in one list, which does not show their order among other options.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Record the order, and parse the arguments."""
        _, _, parameters = self.make_parser(ctx).parse_args(list(args))
        ctx.meta[_ORDER] = [parameter.name for parameter in parameters]
        return super().parse_args(ctx, args)


def typed_order(context: typer.Context) -> list[str]:
    """Return the name of each typed option and argument of an `OrderedCommand`, in order, repetitions included."""
    order: list[str] = context.meta[_ORDER]
    return order
