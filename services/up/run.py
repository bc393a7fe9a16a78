"""The run of one deployment, from its start to its exit code."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Mapping

from motet.core.errors import MotetError
from services.exit_codes import Exit
from services.ready_line import ReadyLine
from services.terminal import print_status
from services.up.deployment import ORCHESTRATOR, Deployment
from services.up.local_deployment import LocalDeployment, run_until
from services.up.run_file import run_file


async def up(deployment: Deployment) -> Exit:
    """Run a deployment until Ctrl-C or SIGTERM, then drain it. No process survives.

    A process that ends on its own is restarted. A second signal ends the grace period of running calls. The exit code
    is FAILED if a running call was cancelled.

    Raises `MotetError` if a service fails to start, or if nothing can be served. The other services are then drained.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    processes = LocalDeployment(deployment)
    finished = True
    try:
        if (ready := await run_until(stop, processes.start())) is not None:
            with run_file(ready[ORCHESTRATOR].address, ready):
                _print_table(ready, deployment)
                await run_until(stop, processes.supervise())
    except MotetError as error:
        # Draining takes time. Print the cause before it.
        print_status(f"stopping, because {error.message}")
        raise
    finally:
        print_status("services finish their running calls")
        finished = await processes.drain(hurry)
    return Exit.OK if finished else Exit.FAILED


def _print_table(ready: Mapping[str, ReadyLine], deployment: Deployment) -> None:
    width = max(map(len, ready))
    print(f"{'service':<{width}}  {'address':<21}  metrics")
    for name, ready_line in ready.items():
        print(f"{name:<{width}}  {ready_line.address:<21}  {ready_line.metrics}")
    tls = f" --tls-ca {shlex.quote(str(deployment.certificates.authority))}" if deployment.certificates else ""
    command = f'motet run --server {ready[ORCHESTRATOR].address}{tls} "..."'
    print(f"\n{command}    Ctrl-C stops everything", flush=True)
