"""The processes of one deployment."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from services.ready_line import ReadyLine
from services.up.deployment import ORCHESTRATOR, Deployment
from services.up.supervised_process import SupervisedProcess

T = TypeVar("T")

EXIT_MARGIN = 5.0
"""Maximum time from the end of a service's calls to the end of its process, in seconds."""


class LocalDeployment:
    """The processes of one deployment. They start in parallel, are restarted when they end, and drain in order."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._processes: dict[str, SupervisedProcess] = {}
        self._serving = False

    async def start(self) -> dict[str, ReadyLine]:
        """Start the workers, then the orchestrator, and return the ready line of each.

        Raises `MotetError`, which names the first service that failed to start.
        """
        deployment = self._deployment
        for name, arguments in deployment.workers().items():
            await self._start(name, arguments)
        ready = await _gather({name: process.wait_ready() for name, process in self._processes.items()})
        arguments = deployment.orchestrator({name: ready_line.address for name, ready_line in ready.items()})
        orchestrator = await self._start(ORCHESTRATOR, arguments)
        ready = {ORCHESTRATOR: await orchestrator.wait_ready(), **ready}
        self._serving = True
        return ready

    def pid_of(self, name: str) -> int:
        """Return the id of a service's present process."""
        return self._processes[name].pid

    async def supervise(self) -> None:
        """Restart each process that ends. Raises the `MotetError` of a process without which nothing can be served."""
        tasks = {asyncio.create_task(process.supervise()): name for name, process in self._processes.items()}
        try:
            for ended in asyncio.as_completed(tasks):
                error = await ended
                lost = {name for task, name in tasks.items() if task.done()}
                if not self._deployment.can_serve(lost):
                    raise error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def drain(self, hurry: asyncio.Event) -> bool:
        """Drain and stop all processes. Return whether all running calls finished.

        The orchestrator is first, because its running calls need the workers. They have the grace period to finish,
        or until `hurry` is set.
        """
        try:
            finished = not self._serving or await self._drain_orchestrator(hurry)
            await asyncio.gather(*(process.drain(EXIT_MARGIN) for process in self._processes.values()))
            return finished
        finally:
            await asyncio.gather(*(process.kill() for process in self._processes.values()))

    async def _start(self, name: str, arguments: list[str]) -> SupervisedProcess:
        deployment = self._deployment
        process = await SupervisedProcess.start(name, arguments, deployment.log_level, deployment.restart_policy)
        self._processes[name] = process
        return process

    async def _drain_orchestrator(self, hurry: asyncio.Event) -> bool:
        orchestrator = self._processes[ORCHESTRATOR]
        if not orchestrator.runs:
            return True
        finished = await run_until(hurry, orchestrator.drain(self._deployment.grace + EXIT_MARGIN))
        # A second SIGTERM ends the grace period.
        return await orchestrator.drain(EXIT_MARGIN) if finished is None else finished


async def run_until(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of `work`. If `stop` is set first, cancel `work` and return None."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.wait((working,))
    return None


async def _gather(coroutines: Mapping[str, Coroutine[Any, Any, T]]) -> dict[str, T]:
    """Run coroutines concurrently, and return their results. Raises the first error, and cancels the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(coroutine) for name, coroutine in coroutines.items()}
    except BaseExceptionGroup as errors:
        # Callers expect a `MotetError`, not a group.
        raise errors.exceptions[0] from None
    return {name: task.result() for name, task in tasks.items()}
