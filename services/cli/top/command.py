"""`motet top`: the tables of a deployment, again and again or once."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import BaseModel, Field

from motet.core.errors import SettingsError
from services.cli.checks.streams import STDOUT, check_open
from services.cli.cluster.connection import ClusterTarget, connect
from services.cli.cluster.options import Context, Kubeconfig, Namespace, ReleaseName
from services.cli.commands import Command
from services.cli.exit import exit_after
from services.cli.top.addresses import FixedEndpoints, tls_context_of
from services.cli.top.endpoint import MetricsSource
from services.cli.top.local import LocalEndpoints
from services.cli.top.monitor import Monitor
from services.cli.top.picture import check_svg, draw_snapshot
from services.cli.top.snapshot import Snapshot
from services.cli.typer_options import options_of, path_of, values_of, with_options
from services.exit_codes import Exit
from services.settings import FILE, refuse_ignored, settings_of
from services.up.deployment import MAX_PORT

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_PIPE_WIDTH = 140
"""Width of the tables in a pipe, in columns."""


class TopOptions(BaseModel):
    """Options of `motet top`, besides those of a cluster."""

    interval: float = Field(
        2.0,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description="Minimum time between two readings, in seconds. Rates are means over it.",
        json_schema_extra={"metavar": "SECONDS"},
    )
    port: int | None = Field(
        None, ge=1, le=MAX_PORT, description="Port of the `motet up` on this machine, if several ones run."
    )
    tls_ca: Path | None = Field(
        None,
        description="PEM file of the authorities of the metrics' certificates. With it, the addresses use HTTPS.",
        json_schema_extra=FILE,
    )
    tls_cert: Path | None = Field(
        None, description="PEM file of your certificate, for metrics that require one.", json_schema_extra=FILE
    )
    tls_key: Path | None = Field(None, description="PEM file of the private key of --tls-cert.", json_schema_extra=FILE)


@dataclass(frozen=True, slots=True)
class TopOutput:
    """The form of the output. `picture` is a file for the picture of one reading."""

    interval: float
    once: bool
    as_json: bool
    picture: Path | None


@app.command(cls=Command)
@with_options(options_of(TopOptions))
def top(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(metavar="HOST:PORT", help="Addresses of metrics. [default: those of `motet up`]"),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one reading after one interval, and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object for each reading.")] = False,
    svg: Annotated[
        Path | None,
        typer.Option(parser=path_of, metavar="FILE", help="Draw one reading into this .svg file, and exit."),
    ] = None,
    namespace: Namespace = None,
    release: ReleaseName = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    **options: Any,
) -> None:
    """Show the load of a deployment until Ctrl-C."""
    in_cluster = {"release": release, "namespace": namespace, "context": context, "kubeconfig": kubeconfig}

    def run() -> Exit:
        check_open(STDOUT)
        top_options = settings_of(TopOptions, values_of(TopOptions, options))
        typed = {name: value for name, value in in_cluster.items() if value is not None}
        _refuse_contradictions(addresses or [], typed, options)
        if svg is not None:
            if as_json:
                raise SettingsError("--svg has no effect with --json: remove one of them")
            check_svg(svg)
        output = TopOutput(top_options.interval, once or svg is not None, as_json, svg)
        target = ClusterTarget(namespace, context, kubeconfig) if typed else None
        return asyncio.run(_run(output, _source(addresses or [], top_options, target, release)))

    raise exit_after(run, as_json)


def _refuse_contradictions(addresses: list[str], in_cluster: dict[str, Any], options: dict[str, Any]) -> None:
    """Raise `SettingsError` for options of more than one of: addresses, a cluster, and `motet up`."""
    tls = ("tls_ca", "tls_cert", "tls_key")
    if addresses:
        if in_cluster:
            raise SettingsError(f"--{next(iter(in_cluster))} has no effect with addresses: remove one of them")
        if options["port"] is not None:
            raise SettingsError("--port has no effect with addresses: remove one of them")
    elif in_cluster:
        refuse_ignored(f"--{next(iter(in_cluster))}", options, ("port", *tls))
    else:
        for name in tls:
            if options[name] is not None:
                raise SettingsError(f"--{name.replace('_', '-')} has no effect without addresses: add HOST:PORT")


@asynccontextmanager
async def _source(
    addresses: list[str], options: TopOptions, target: ClusterTarget | None, release: str | None
) -> AsyncIterator[MetricsSource]:
    """Yield the source of the endpoints. Raises `MotetError` for addresses, files and clusters that cannot be used."""
    if target is not None:
        from services.cli.top.cluster import ClusterEndpoints

        async with connect(target) as api:
            yield ClusterEndpoints(api, release)
    elif addresses:
        yield FixedEndpoints(addresses, tls_context_of(options.tls_ca, options.tls_cert, options.tls_key))
    else:
        yield LocalEndpoints(options.port)


async def _run(output: TopOutput, source: AbstractAsyncContextManager[MetricsSource]) -> Exit:
    from rich.console import Console

    console = Console(highlight=False)
    is_live = console.is_terminal and not console.is_dumb_terminal
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    async with source as endpoints:
        monitor = Monitor(endpoints)
        if output.once or not (is_live or output.as_json):
            return await _once(monitor, output, console)
        if output.as_json:
            return await _stream(monitor, output.interval)
        return await _watch(monitor, output.interval, console)


async def _once(monitor: Monitor, output: TopOutput, console: Console) -> Exit:
    """Print one reading with rates. Return how many processes sent their metrics: all, some or none."""
    await monitor.read()
    await asyncio.sleep(output.interval)
    snapshot = await monitor.read()
    if output.picture is not None:
        draw_snapshot(snapshot, output.picture)
    if output.as_json:
        _write(snapshot)
    else:
        from services.cli.top.view import print_page

        print_page(snapshot, console)
    if snapshot.reachable == len(snapshot.processes):
        return Exit.OK
    return Exit.PARTIAL if snapshot.reachable else Exit.UNAVAILABLE


async def _stream(monitor: Monitor, interval: float) -> NoReturn:
    """Write an object for each reading after the first one, which has no rates."""
    await monitor.read()
    while True:
        await asyncio.sleep(interval)
        _write(await monitor.read())


async def _watch(monitor: Monitor, interval: float, console: Console) -> Exit:
    """Show each reading on the whole terminal, which is restored at the end by Ctrl-C or SIGTERM."""
    from rich.live import Live

    from services.cli.top.view import page_of

    task = asyncio.current_task()
    assert task is not None
    # By default, this signal would not restore the terminal.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    snapshot = await monitor.read()
    with (
        suppress(asyncio.CancelledError),
        Live(page_of(snapshot, console.width), console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            await asyncio.sleep(interval)
            live.update(page_of(await monitor.read(), console.width), refresh=True)
    return Exit.INTERRUPTED


def _write(snapshot: Snapshot) -> None:
    print(json.dumps(snapshot.as_json()), flush=True)
