"""Admission: how many calls are worked on at once, how many wait, and when none are taken any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from motet.core import metrics
from motet.core.capacity import REPORT_INTERVAL, Load
from motet.core.clock import now
from motet.core.errors import OverloadedError, Reason, RetryableError
from motet.scheduling.moving_average import MovingAverage

_SHORTEST_WAIT, _LONGEST_WAIT = 0.1, 60.0
"""Seconds that a refused caller is told to wait, at least and at most."""

_PACE = 0.05
"""Seconds between two tellings of a load, at least: telling each of thousands of changes costs as much as the calls."""


class ConcurrencyLimiter:
    """Lets in `running` calls at once and keeps up to `waiting` more; refuses the rest at once. 0 running: no limit."""

    def __init__(self, running: int = 0, waiting: int = 0) -> None:
        self._seats = asyncio.Semaphore(running) if running else None
        self._slots = running
        self._limit = running + waiting if running else 0
        self._running = 0
        self._queued = 0
        self._draining = False
        self._call_seconds = MovingAverage(1.0)
        self._change = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    def capacity(self) -> Load:
        """The load now."""
        return Load(
            running=self._running,
            queued=self._queued,
            limit=self._limit,
            draining=self._draining,
            slots=self._slots,
            seconds=(self._call_seconds.value or 0.0) * (self._running + self._queued),
        )

    def admitted(self) -> _Admission:
        """Within, a call is worked on; it enters when its turn has come.

        Entering raises `OverloadedError` with the expected wait when too many calls are in, `RetryableError` with
        reason DRAINING once the gate is closed.
        """
        return _Admission(self)

    async def enter(self) -> None:
        """As entering `admitted` does; `leave` must follow."""
        self._refuse()
        if self._seats is not None:
            await self._turn(self._seats)
        self._count(running=1)

    def leave(self, seconds: float) -> None:
        """A call that entered is over, after so many seconds."""
        if self._seats is not None:
            self._seats.release()
        self._count(running=-1)
        self._call_seconds.add(seconds)

    async def watch(self) -> AsyncGenerator[Load, None]:
        """The load, at once, after each change, and every `REPORT_INTERVAL` seconds.

        Changes that follow each other closely are told as one.
        """
        while True:
            change = self._change
            yield self.capacity
            await asyncio.sleep(_PACE)
            with suppress(TimeoutError):
                async with asyncio.timeout(REPORT_INTERVAL):
                    await change.wait()

    def close(self) -> None:
        """Let nobody in any more; those inside and in the queue are finished. Closing twice is as closing once."""
        if not self._draining:
            metrics.DRAINING.set(1)
        self._draining = True
        self._closing.set()
        self._changed()

    async def closed(self) -> None:
        """Wait until somebody closes the gate."""
        await self._closing.wait()

    async def drain(self, grace: float | None = None) -> int:
        """Close, and wait for everybody to leave, `grace` seconds at most; how many did not."""
        self.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._running + self._queued:
                    await self._change.wait()
        return self._running + self._queued

    def _refuse(self) -> None:
        if self._draining:
            metrics.CALLS_REFUSED.labels(Reason.DRAINING).inc()
            raise RetryableError("this process is about to stop; ask another, or again later", Reason.DRAINING)
        if self._limit and self._running + self._queued >= self._limit:
            metrics.CALLS_REFUSED.labels(Reason.QUEUE_FULL).inc()
            until_free = (self._call_seconds.value or 0.0) * (self._queued + 1) / self._slots
            wait = min(_LONGEST_WAIT, max(_SHORTEST_WAIT, until_free))
            raise OverloadedError(
                f"{self._limit} calls are being worked on or waiting, which is the limit; try again in {wait:.1f} s",
                metadata={"limit": str(self._limit), "retry_after": f"{wait:.1f}"},
                retry_after=wait,
            )

    async def _turn(self, seats: asyncio.Semaphore) -> None:
        if not seats.locked():
            await seats.acquire()  # at once
            return
        self._count(queued=1)
        try:
            await seats.acquire()
        finally:
            self._count(queued=-1)

    def _count(self, running: int = 0, queued: int = 0) -> None:
        self._running += running
        self._queued += queued
        metrics.CALLS_RUNNING.inc(running)
        metrics.CALLS_QUEUED.inc(queued)
        self._changed()

    def _changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()


class _Admission:
    """One call's way through a gate."""

    # A class and not a generator: every call comes through here.

    def __init__(self, gate: ConcurrencyLimiter) -> None:
        self._gate = gate
        self._since = 0.0

    async def __aenter__(self) -> None:
        await self._gate.enter()
        self._since = now()

    async def __aexit__(self, *exception: object) -> None:
        self._gate.leave(now() - self._since)
