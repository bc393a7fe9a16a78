"""A handle of Ray Serve whose only replica is in this process, for tests without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import chain
from typing import Any

from motet.transport.client_call import Metadata
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.ray.channel import RayChannel
from motet.transport.ray.failure import Failure
from motet.transport.ray.served_methods import ServedMethods
from services.capacity_servicer import CapacityServicer
from tests.transport.serving import servicers_of


class LocalHandle:
    """Starts each call in a task of its own, as Ray does. `error` fails calls after `error_after` responses."""

    def __init__(self, methods: ServedMethods) -> None:
        self.methods = methods
        self.error: Exception | None = None
        self.error_after = 0
        self.seconds: list[float | None] = []

    def remote(self, method: str, requests: list[bytes], seconds: float | None, metadata: Metadata) -> LocalResponses:
        """Start a call."""
        self.seconds.append(seconds)
        responses = self.methods.call(method, requests, seconds, metadata)
        return LocalResponses(responses, self.error, self.error_after)


class LocalResponses:
    """The responses of one call."""

    def __init__(
        self, responses: AsyncGenerator[bytes | Failure, None], error: Exception | None, error_after: int
    ) -> None:
        self._items: asyncio.Queue[bytes | Failure | Exception | None] = asyncio.Queue()
        self._error = error
        self._error_after = error_after
        self._task = asyncio.create_task(self._run(responses))

    async def __aiter__(self) -> AsyncIterator[bytes | Failure]:
        while (item := await self._items.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def cancel(self) -> None:
        """Cancel the task of the call."""
        self._task.cancel()

    async def _run(self, responses: AsyncGenerator[bytes | Failure, None]) -> None:
        async with aclosing(responses):
            count = 0
            while self._error is None or count < self._error_after:
                item = await anext(responses, None)
                self._items.put_nowait(item)
                if item is None:
                    return
                count += 1
            self._items.put_nowait(self._error)


@asynccontextmanager
async def served_by_ray(
    *workers: Any, limiter: ConcurrencyLimiter | None = None, bundle_digest: str = ""
) -> AsyncIterator[tuple[LocalHandle, RayChannel]]:
    """Serve workers with the messages of Ray. Yield the handle and a channel to it."""
    limiter = limiter or ConcurrencyLimiter()
    servicers = [*chain.from_iterable(map(servicers_of, workers)), CapacityServicer(limiter, bundle_digest)]
    handle = LocalHandle(ServedMethods(servicers, limiter))
    yield handle, RayChannel(handle, "the worker")
