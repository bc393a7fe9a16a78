"""`motet models`: the models of a deployment."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from motet.answers.printable import printable
from motet.core.service import Model, Output
from services.cli.checks.streams import STDOUT, check_open
from services.cli.commands import Command
from services.cli.connect import ConnectionSettings, Target, connect, target_of
from services.cli.exit import exit_after
from services.cli.typer_options import Server, options_of, with_options
from services.exit_codes import Exit
from services.settings import ComputeSettings

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(cls=Command)
@with_options(options_of(ComputeSettings, only=("bundle", "toy")), options_of(ConnectionSettings))
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object a line.")] = False,
    server: Server = None,
    **options: Any,
) -> None:
    """Print the models and exit."""

    def list_models() -> Exit:
        check_open(STDOUT)
        return asyncio.run(_print_models(target_of(server, options), as_json))

    raise exit_after(list_models, as_json)


async def _print_models(target: Target, as_json: bool) -> Exit:
    async with connect(target) as motet:
        for model in await motet.models():
            print(json.dumps(asdict(model)) if as_json else printable(_description(model)))
    return Exit.OK


def _description(model: Model) -> str:
    lines = [
        f"{model.name}: {model.description}{_note(model.available)}",
        f"  licence  {model.licence}",
        f"  digest   {model.digest}",
        f"  input    {', '.join(('text', *model.input_modalities))}{_note(model.input_available)}",
        "  output   text",
        *(
            f"           {output.modality} ({output.media_type}), {output.steps} steps, "
            f"guidance {output.guidance:g}, at most {output.max_parts} in an answer{_taken(output)}"
            f"{_note(output.available)}"
            for output in model.outputs
        ),
    ]
    return "\n".join(lines)


def _taken(output: Output) -> str:
    slots = " and ".join(" or ".join(slot) for slot in output.takes)
    return f", takes {slots}" if slots else ""


def _note(available: bool) -> str:
    return "" if available else " (not available now)"
