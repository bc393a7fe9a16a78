"""A pool of simulated decoders whose number changes, and the time for which they exist."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count

from motet.core.clock import now
from motet.core.workers import Decoder
from orchestrator.pool.member import Member
from orchestrator.pool.pool import Pool
from services.benchmarks.simulation.workers import SimulatedDecoder
from services.benchmarks.suite.scaling.autoscaler import SYNC_INTERVAL, Autoscaler


class ElasticPool:
    """Starts and ends the replicas of a pool. A replica takes calls `start_seconds` seconds after its start.

    `replica_seconds` has the time from the start of each replica until its last call has ended, as a GPU is used.
    """

    def __init__(self, pool: Pool[Decoder], decoder: Callable[[], SimulatedDecoder], start_seconds: float) -> None:
        self._pool = pool
        self._decoder = decoder
        self._start_seconds = start_seconds
        self._addresses = map(str, count())
        self._starting: list[asyncio.Task[None]] = []
        self._ready: list[str] = []
        self._since: dict[str, float] = {}
        """The start of each replica that exists."""
        self._ended = 0.0
        self._changing = asyncio.Lock()

    @property
    def replica_seconds(self) -> float:
        """The seconds of all replicas until now."""
        return self._ended + sum(now() - since for since in self._since.values())

    async def scale(self, replicas: int) -> None:
        """Start replicas, or end the newest ones, until there are this number."""
        self._starting = [task for task in self._starting if not task.done()]
        while len(self._starting) + len(self._ready) < replicas:
            address = next(self._addresses)
            self._since[address] = now()
            self._starting.append(asyncio.create_task(self._start(address)))
        while len(self._starting) + len(self._ready) > replicas and self._starting:
            self._starting.pop().cancel()
        if len(self._ready) > replicas:
            del self._ready[replicas:]
            await self._update()

    async def follow(self, autoscaler: Autoscaler) -> None:
        """Have the replicas that an autoscaler decides, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._activate(autoscaler))
            while True:
                autoscaler.sync(now(), self._pool.calls.demand)
                await self.scale(autoscaler.replicas)
                await asyncio.sleep(SYNC_INTERVAL)

    async def run(self, changes: Sequence[tuple[float, int]]) -> None:
        """Have these numbers of replicas from these times on, in seconds from now."""
        start = now()
        for at, replicas in changes:
            await asyncio.sleep(max(0.0, start + at - now()))
            await self.scale(replicas)

    async def _activate(self, autoscaler: Autoscaler) -> None:
        async for active in self._pool.calls.watch_active():
            if active:
                autoscaler.activate(now())
                await self.scale(autoscaler.replicas)

    async def _start(self, address: str) -> None:
        try:
            await asyncio.sleep(self._start_seconds)
        except asyncio.CancelledError:
            self._end(address)
            raise
        self._ready.append(address)
        await self._update()

    async def _update(self) -> None:
        async with self._changing:
            await self._pool.set_members(tuple(self._ready), self._connect)

    def _connect(self, address: str) -> Member[Decoder]:
        decoder = self._decoder()
        return Member(decoder, decoder.loads, address, partial(self._close, address))

    async def _close(self, address: str) -> None:
        self._end(address)

    def _end(self, address: str) -> None:
        with suppress(KeyError):
            self._ended += now() - self._since.pop(address)
