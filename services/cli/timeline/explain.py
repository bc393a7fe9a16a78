"""`motet explain`: the calls of workers of one generation, and its critical path."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from motet.answers.timeline import Timeline, timeline_of
from motet.core.closing import closing
from motet.core.errors import SettingsError
from motet.core.events import PlanGrown, PlanNode
from motet.core.service import Motet
from services.cli.checks.streams import STDOUT, check_open
from services.cli.commands import Command
from services.cli.connect import ConnectionSettings, Target, connect, target_of
from services.cli.exit import exit_after
from services.cli.timeline.picture import TimelineFile, check_picture, draw
from services.cli.typer_options import options_of, with_options
from services.exit_codes import Exit

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_COLLECTION = "generations/"


@app.command(cls=Command)
@with_options(options_of(ConnectionSettings))
def explain(
    generation: Annotated[str, typer.Argument(help="The name of the generation, with or without 'generations/'.")],
    timeline: TimelineFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
    server: Annotated[
        str | None, typer.Option(metavar="ADDR", help="Address of the orchestrator. [env: MOTET_SERVER]")
    ] = None,
    **options: Any,
) -> None:
    """Print where the time of a generation went, and exit."""

    def explain_generation() -> Exit:
        check_open(STDOUT)
        target = target_of(server, options)
        if target.server is None:
            raise SettingsError("a generation is on its server: add --server HOST:PORT, or set MOTET_SERVER")
        if timeline is not None:
            check_picture(timeline)
        name = generation if generation.startswith(_COLLECTION) else _COLLECTION + generation
        explained = asyncio.run(_explained(target, name))
        if timeline is not None:
            draw(explained, timeline)
        if as_json:
            print(json.dumps(line_of(explained)))
        else:
            from services.cli.timeline.table import print_table

            print_table(explained)
        return Exit.OK

    raise exit_after(explain_generation, as_json)


async def _explained(target: Target, name: str) -> Timeline:
    async with connect(target) as motet:
        return await read_timeline(motet, name)


async def read_timeline(motet: Motet, name: str) -> Timeline:
    """Return the timeline of a generation until now. Raises `NotFoundError` for an unknown or expired generation."""
    record = await motet.get(name)
    plan: tuple[PlanNode, ...] = ()
    if record.calls:
        async with closing(motet.watch(name)) as events:
            async for event in events:
                complete = False
                if isinstance(event.payload, PlanGrown):
                    plan, complete = event.payload.nodes, event.payload.complete
                # A running generation has its next events much later.
                if complete or event.sequence >= record.last_sequence:
                    break
    return timeline_of(record, plan)


def line_of(timeline: Timeline) -> dict[str, object]:
    """Return a timeline as a JSON object. Times and durations are in seconds, `explained` is a share."""
    nodes = [
        {**asdict(node), "source": node.source.name.lower(), "critical": node.critical, "work": node.work}
        for node in timeline.nodes
    ]
    return {
        "generation": timeline.generation,
        "state": timeline.state.name,
        "elapsed": timeline.elapsed,
        "critical_seconds": timeline.critical_seconds,
        "queue_seconds": timeline.queue_seconds,
        "overhead": timeline.overhead,
        "explained": timeline.explained,
        "nodes": nodes,
    }
