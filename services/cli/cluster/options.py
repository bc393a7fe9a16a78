"""Options that all commands of `motet cluster` have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from services.cli.checks.paths import check_input
from services.cli.checks.streams import STDOUT, check_open
from services.cli.cluster.api import ClusterApi
from services.cli.cluster.connection import ClusterTarget, connect
from services.cli.exit import exit_after
from services.cli.typer_options import path_of
from services.exit_codes import Exit

Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NAME", help="Namespace. [default: that of the kubeconfig's context]"),
]
Context = Annotated[
    str | None, typer.Option(metavar="NAME", help="Context of the kubeconfig. [default: its current context]")
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        parser=path_of,
        metavar="FILE",
        help="File with the address of the cluster. [default: KUBECONFIG, ~/.kube/config, or the account of the pod]",
    ),
]
ReleaseName = Annotated[
    str | None,
    typer.Option("--release", metavar="NAME", help="Release of the chart. [default: the only one in the namespace]"),
]


def run_on(
    target: ClusterTarget,
    command: Callable[[ClusterApi], Awaitable[Exit]],
    as_json: bool = False,
    inputs: Sequence[Path] = (),
) -> typer.Exit:
    """Check the input files, connect to a cluster, run a command, and return its exit for the caller to raise."""

    async def connected() -> Exit:
        async with connect(target) as api:
            return await command(api)

    def run() -> Exit:
        check_open(STDOUT)
        for file in inputs:
            check_input(file)
        return asyncio.run(connected())

    return exit_after(run, as_json)
