"""The limit on concurrent calls of a server: running, queued, and refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress

from motet.core.clock import now
from motet.core.errors import OverloadedError, Reason, RetryableError, retry_delay
from motet.core.telemetry.families import call_metrics, process_metrics
from motet.core.workers import REPORT_INTERVAL, Load
from motet.scheduling.moving_average import MovingAverage

_MIN_INTERVAL = 0.05
"""Minimum interval between reports of the load, in seconds. Reporting each change would cost as much as the calls."""


class ConcurrencyLimiter:
    """A limiter that admits `running` calls at once, queues `waiting` more, and refuses all others at once.

    If `running` is 0, the number of calls is not limited.
    """

    def __init__(self, running: int = 0, waiting: int = 0) -> None:
        self._semaphore = asyncio.Semaphore(running) if running else None
        self._slots = running
        self._limit = running + waiting if running else 0
        self._running = 0
        self._queued = 0
        self._draining = False
        self._call_seconds = MovingAverage(1.0)
        self._change = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    def load(self) -> Load:
        """The current load."""
        return Load(
            running=self._running,
            queued=self._queued,
            limit=self._limit,
            draining=self._draining,
            slots=self._slots,
            seconds=(self._call_seconds.value or 0.0) * (self._running + self._queued),
        )

    def admitted(self) -> _Admission:
        """Return a context in which a call runs. Entering it waits in the queue if all slots are taken.

        Entering raises `OverloadedError` with a retry delay if the queue is full, and `RetryableError` with reason
        DRAINING after `close`.
        """
        return _Admission(self)

    async def acquire(self) -> None:
        """Take a slot, as entering `admitted` does. `release` must follow."""
        self._check()
        if self._semaphore is not None:
            await self._wait(self._semaphore)
        self._count(running=1)

    def release(self, seconds: float) -> None:
        """Return the slot of a call that took `seconds` seconds."""
        if self._semaphore is not None:
            self._semaphore.release()
        self._count(running=-1)
        self._call_seconds.add(seconds)

    async def watch(self) -> AsyncGenerator[Load, None]:
        """Yield the load at once, after each change, and every `REPORT_INTERVAL` seconds.

        Changes in quick succession are reported together.
        """
        while True:
            change = self._change
            yield self.load
            await asyncio.sleep(_MIN_INTERVAL)
            with suppress(TimeoutError):
                async with asyncio.timeout(REPORT_INTERVAL):
                    await change.wait()

    def close(self) -> None:
        """Admit no further call, for good. Running and queued calls are completed. Closing again has no effect."""
        if not self._draining:
            process_metrics.DRAINING.set(1)
            started = time.monotonic()
            process_metrics.DRAIN_SECONDS.set_function(lambda: time.monotonic() - started)
        self._draining = True
        self._closing.set()
        self._changed()

    async def wait_closed(self) -> None:
        """Wait until the limiter is closed."""
        await self._closing.wait()

    async def drain(self, grace: float | None = None) -> int:
        """Close, and wait up to `grace` seconds for all calls to end. Return the number of calls still left."""
        self.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._running + self._queued:
                    await self._change.wait()
        return self._running + self._queued

    def _check(self) -> None:
        if self._draining:
            call_metrics.CALLS_REFUSED.labels(Reason.DRAINING).inc()
            raise RetryableError(
                "this process drains and admits no call until it is restarted; use another replica, or retry later",
                Reason.DRAINING,
            )
        if self._limit and self._running + self._queued >= self._limit:
            call_metrics.CALLS_REFUSED.labels(Reason.QUEUE_FULL).inc()
            wait = retry_delay((self._call_seconds.value or 0.0) * (self._queued + 1) / self._slots)
            raise OverloadedError(
                f"the limit of {self._limit} running and queued calls is reached; retry in {wait:.1f} s",
                metadata={"limit": str(self._limit), "retry_after": f"{wait:.1f}"},
                retry_after=wait,
            )

    async def _wait(self, semaphore: asyncio.Semaphore) -> None:
        if not semaphore.locked():
            await semaphore.acquire()  # Does not wait.
            return
        self._count(queued=1)
        try:
            await semaphore.acquire()
        finally:
            self._count(queued=-1)

    def _count(self, running: int = 0, queued: int = 0) -> None:
        self._running += running
        self._queued += queued
        if running:
            call_metrics.CALLS_RUNNING.inc(running)
        if queued:
            call_metrics.CALLS_QUEUED.inc(queued)
        self._changed()

    def _changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()


class _Admission:
    """The context of one call. A class, because a generator would cost each call more."""

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self._limiter = limiter
        self._since = 0.0

    async def __aenter__(self) -> None:
        await self._limiter.acquire()
        self._since = now()

    async def __aexit__(self, *exception: object) -> None:
        self._limiter.release(now() - self._since)
