"""A service's process that is restarted when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from motet.core.clock import now
from motet.core.errors import MotetError
from services.child_process import ChildProcess
from services.ready_line import ReadyLine
from services.terminal import print_status
from services.up.restarts import RestartPolicy, Restarts


class SupervisedProcess:
    """A service's process. A restart keeps the addresses of the first start, so callers find the service again."""

    def __init__(self, child: ChildProcess, arguments: Sequence[str], log_level: str, policy: RestartPolicy) -> None:
        self._child = child
        self._arguments = arguments
        self._log_level = log_level
        self._policy = policy
        self._addresses: Sequence[str] = ()

    @classmethod
    async def start(cls, name: str, arguments: Sequence[str], log_level: str, policy: RestartPolicy) -> Self:
        """Start `motet serve ARGUMENTS`."""
        return cls(await ChildProcess.start(name, arguments, log_level), arguments, log_level, policy)

    @property
    def pid(self) -> int:
        """The id of the present process."""
        return self._child.pid

    @property
    def runs(self) -> bool:
        """True while the process runs, also before it is ready."""
        return self._child.runs

    async def wait_ready(self) -> ReadyLine:
        """Wait until the service is ready, and return its addresses. Raises `MotetError` if the process ends first."""
        ready_line = await self._child.wait_ready()
        print_status(f"{self._child.name} is ready")
        self._addresses = ("--listen", ready_line.address, "--metrics", ready_line.metrics)
        return ready_line

    async def supervise(self) -> MotetError:
        """Restart the process each time it ends. Return the last error if the limit of restarts is reached."""
        name, policy = self._child.name, self._policy
        restarts = Restarts(policy)
        while True:
            error = await self._child.wait()
            if (delay := restarts.next_delay(now())) is None:
                limit = f"{policy.max_restarts} restarts in {policy.period:g} s"
                print_status(f"{error.message}; it does not restart after {limit}")
                return error
            print_status(f"{error.message}; it restarts in {delay:g} s")
            await asyncio.sleep(delay)
            # The last value of an option counts.
            arguments = [*self._arguments, *self._addresses]
            # The next round counts a failure. Without free memory, the system refuses to start a process: an `OSError`.
            with suppress(MotetError, OSError):
                self._child = await ChildProcess.start(name, arguments, self._log_level)
                await self.wait_ready()

    async def drain(self, seconds: float) -> bool:
        """Send SIGTERM, and wait up to `seconds` seconds. Return whether the process ended with exit code 0."""
        return await self._child.drain(seconds)

    async def kill(self) -> None:
        """Kill the process, if it still runs, and wait until it ends."""
        if self.runs:
            print_status(f"{self._child.name} does not stop and is killed")
        await self._child.kill()
