"""The processes of a greedy tenant, started and read by a benchmark."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Self

from motet.core.concurrent.processes import kill_process
from motet.core.errors import FaultError
from services.benchmarks.load.call_outcomes import CallOutcomes
from services.benchmarks.load.greedy_tenant import GreedyConfig


class GreedyProcess:
    """A process of a greedy tenant. It is connected, and waits for `run`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, config: GreedyConfig) -> Self:
        """Start a process. Raises `FaultError` if it cannot connect."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "services.benchmarks.load.greedy_tenant", config.as_argument()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        if not await process.stdout.readline():
            raise FaultError("a process of the greedy tenant could not connect; its own error says why")
        return cls(process)

    async def run(self) -> CallOutcomes:
        """Send all requests, and return their outcomes. Raises `FaultError` if the process fails."""
        output, _ = await self._process.communicate(b"\n")
        if self._process.returncode:
            raise FaultError(f"a process of the greedy tenant ended with code {self._process.returncode}")
        return CallOutcomes.from_dict(json.loads(output))

    async def kill(self) -> None:
        """Kill the process, if it still runs."""
        await kill_process(self._process)


async def outcomes_of(processes: Sequence[GreedyProcess]) -> CallOutcomes:
    """Run all processes at the same time. Return the sums of their outcomes."""
    total = CallOutcomes()
    for outcomes in await asyncio.gather(*(process.run() for process in processes)):
        total.add(outcomes)
    return total
