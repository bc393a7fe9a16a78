"""A pool of toys on a virtual clock. The test sends the loads of the workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from random import Random

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import Reason, RetryableError
from motet.core.media import Media
from motet.core.workers import REPORT_INTERVAL, DecodeJob, Load, Progress
from motet.toys.workers import InjectedFault, ToyDecoder, tensor_of
from orchestrator.pool.member import Member
from orchestrator.pool.pool import Pool
from orchestrator.pool.workers import PooledDecoder
from orchestrator.settings import OrchestratorSettings
from tests.waiting import run_ready_tasks

STEPS = 10
LOST = RetryableError("gone", Reason.WORKER_LOST)
UNREACHABLE = RetryableError("not there", Reason.WORKER_UNAVAILABLE)


class LoadFeed:
    """The load stream of a worker. The latest load is repeated every `REPORT_INTERVAL` seconds, unless `frozen`.

    Without `slots`, there is no load before `send`.
    """

    def __init__(self, slots: int | None = 1) -> None:
        self.loads_to_send: asyncio.Queue[Load | None] = asyncio.Queue()
        self.frozen = False
        if slots is not None:
            self.send(slots=slots)

    def send(self, **load) -> None:
        """Send a load with these fields."""
        self.loads_to_send.put_nowait(Load(**load))

    def disconnect(self) -> None:
        """End the stream with an error."""
        self.loads_to_send.put_nowait(None)

    async def loads(self) -> AsyncIterator[Load]:
        """Yield the loads."""
        load = await self.loads_to_send.get()
        while load is not None:
            yield load
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self.frozen else REPORT_INTERVAL):
                    load = await self.loads_to_send.get()
            while self.frozen:
                await asyncio.sleep(0.01)
        raise UNREACHABLE


class FreezableDecoder(ToyDecoder):
    """A toy decoder that sends nothing while it is `frozen`."""

    frozen = False

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        async with aclosing(super().decode(job, deadline)) as events:
            async for event in events:
                while self.frozen:
                    await asyncio.sleep(0.01)
                yield event


class PoolHarness:
    """A pool of one decoder for each fault, each with a load feed. A denoising step takes `delay` seconds."""

    bundle_digest = "sha256:expected"
    balanced = False
    """True if each member stands for several replicas."""

    def __init__(self, *faults: InjectedFault | None, slots: int = 1, delay: float = 0.1, **options) -> None:
        self.delay = delay
        self.slots: int | None = slots
        """The slots of toys that join later. None if they report no load."""
        self.toys = [FreezableDecoder(steps=STEPS, delay=delay, fault=fault) for fault in faults]
        self.feeds = [LoadFeed(slots) for _ in faults]
        self.closed: list[int] = []
        """The numbers of the members that the pool has closed."""
        members = [self._member(number) for number in range(len(faults))]
        self.pool = Pool("a", members, OrchestratorSettings(**options), initial_estimate=delay, random=Random(1))
        self.decoder = PooledDecoder(self.pool, STEPS)

    async def __aenter__(self):
        await self.pool.__aenter__()
        await settle()
        return self

    async def __aexit__(self, *exception):
        await self.pool.__aexit__(*exception)

    def start(self, seed=0, tenant="", priority=0, deadline=None, steps=None):
        """Start a job. Return its task, whose result is that of `decode_to_end`."""
        job = job_of(seed, steps=steps, tenant=tenant, priority=priority)
        return asyncio.create_task(decode_to_end(self.decoder, job, deadline or Deadline.never()))

    async def set_members(self, *numbers: int) -> None:
        """Make the replicas with these numbers the members. A number beyond the toys is one of a new toy."""
        await self.pool.set_members(map(str, numbers), lambda address: self._member(int(address)))

    def _member(self, number: int) -> Member:
        while number >= len(self.toys):
            self.toys.append(FreezableDecoder(steps=STEPS, delay=self.delay))
            self.feeds.append(LoadFeed(self.slots))
        if number in self.closed:
            self.feeds[number] = LoadFeed(self.slots)

        async def close() -> None:
            self.closed.append(number)

        return Member(
            self.toys[number], self.feeds[number].loads, str(number), close, self.bundle_digest, self.balanced
        )

    def freeze(self, number: int, frozen: bool = True) -> None:
        """Stop a worker, load reports included, or let it continue."""
        self.toys[number].frozen = self.feeds[number].frozen = frozen

    @property
    def idle(self) -> bool:
        """True if the pool counts no work as running, waiting or reserved."""
        return not any(self.pool.outstanding) and self.pool.waiting == 0.0

    @property
    def counts(self) -> list[int]:
        """Number of jobs that each toy has received."""
        return [len(toy.seen) for toy in self.toys]

    @property
    def running(self) -> list[int]:
        """Number of jobs that each toy is running."""
        return [toy.running for toy in self.toys]


def job_of(seed=0, **options) -> DecodeJob:
    """Return a job with a seed and other fields."""
    return DecodeJob("a", tensor_of(b"c", (4,)), seed, **options)


async def decode_to_end(decoder, job, deadline):
    """Return the media of a job, and the time of their arrival."""
    async with aclosing(decoder.decode(job, deadline)) as events:
        async for event in events:
            if isinstance(event, Media):
                return event, now()
    raise AssertionError("no media")


async def settle() -> None:
    """Run all tasks that can run without time passing."""
    await run_ready_tasks(20)
