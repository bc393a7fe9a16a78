"""A pool of toys on a made-up clock, whose loads a test tells as it likes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from random import Random

from motet.core.capacity import REPORT_INTERVAL, Load
from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import Reason, RetryableError
from motet.core.media import Media
from motet.core.workers import DecodeJob
from motet.toys.workers import ToyDecoder, Trouble, tensor_of
from orchestrator.pool.pool import Member, Pool
from orchestrator.pool.workers import PooledDecoder
from orchestrator.settings import OrchestratorSettings
from services.benchmarks.simulation.virtual_loop import run_virtually

STEPS = 10
LOST = RetryableError("gone", Reason.WORKER_LOST)
AWAY = RetryableError("not there", Reason.WORKER_UNAVAILABLE)


class Post:
    """Where a test tells a pool a worker's load, or, by None, that it is not heard of any more.

    The last load is told again and again, unless it is `frozen`.
    """

    def __init__(self, slots: int = 1) -> None:
        self.told: asyncio.Queue[Load | None] = asyncio.Queue()
        self.frozen = False
        self.tell(slots=slots)

    def tell(self, **load) -> None:
        self.told.put_nowait(Load(**load))

    def lose(self) -> None:
        self.told.put_nowait(None)

    async def loads(self) -> AsyncIterator[Load]:
        load = await self.told.get()
        while load is not None:
            yield load
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self.frozen else REPORT_INTERVAL):
                    load = await self.told.get()
        raise AWAY


class Hall:
    """A pool of decoders, each with a post. A step takes `delay` seconds."""

    def __init__(self, *troubles: Trouble | None, slots: int = 1, delay: float = 0.1, **options) -> None:
        self.toys = [ToyDecoder(steps=STEPS, delay=delay, trouble=trouble) for trouble in troubles]
        self.posts = [Post(slots) for _ in troubles]
        members = [Member(toy, post.loads) for toy, post in zip(self.toys, self.posts, strict=True)]
        self.pool = Pool("a", members, OrchestratorSettings(**options), guess=delay, random=Random(1))
        self.decoder = PooledDecoder(self.pool, STEPS)

    async def __aenter__(self):
        await self.pool.__aenter__()
        await settled()
        return self

    async def __aexit__(self, *exception):
        await self.pool.__aexit__(*exception)

    def start(self, seed=0, tenant="", priority=0, deadline=None, steps=None):
        """A job under way."""
        job = DecodeJob("a", tensor_of(b"c", (4,)), seed, steps=steps, tenant=tenant, priority=priority)
        return asyncio.create_task(made(self.decoder, job, deadline or Deadline.never()))

    @property
    def idle(self) -> bool:
        """Whether the books say that nothing is to be done."""
        return self.pool.outstanding == [0.0] * len(self.toys) and self.pool.waiting == 0.0

    @property
    def counts(self) -> list[int]:
        return [len(toy.seen) for toy in self.toys]

    @property
    def running(self) -> list[int]:
        return [toy.running for toy in self.toys]


async def made(decoder, job, deadline):
    """A job's media and when they were there."""
    async with aclosing(decoder.decode(job, deadline)) as events:
        async for event in events:
            if isinstance(event, Media):
                return event, now()
    raise AssertionError("no media")


async def settled() -> None:
    """Everything that can happen without time passing has happened."""
    for _ in range(20):
        await asyncio.sleep(0)


def virtually(test):
    """Run a test on a made-up clock."""

    def run(*arguments, **named):
        run_virtually(test(*arguments, **named))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
