"""The replicas of one pool, from its fixed addresses and its sources."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Self

from motet.core.errors import SettingsError
from services.orchestrator.discovery.endpoint import Endpoint, Endpoints, EndpointSource

_FIRST_TIMEOUT = 2.0
"""Maximum time for the first endpoints of all sources, in seconds. Later ones join the pool when they arrive."""

_RETRY_INTERVAL = 10.0
"""Time after which a source whose settings were wrong is watched again, in seconds."""

logger = logging.getLogger(__name__)


class Discovery:
    """Follows the sources of a pool until it is closed, and calls `update` with all endpoints after each change.

    `fixed` are endpoints that do not change. Of endpoints with equal addresses, the first one counts. Entering the
    context waits for the first endpoints of each source, but not for long. It raises the `SettingsError` of a source.
    """

    def __init__(
        self,
        fixed: Sequence[Endpoint],
        sources: Sequence[EndpointSource],
        update: Callable[[Sequence[Endpoint]], Awaitable[None]],
        first_timeout: float = _FIRST_TIMEOUT,
    ) -> None:
        self._fixed = fixed
        self._sources = sources
        self._update = update
        self._first_timeout = first_timeout
        self._known: dict[int, Endpoints] = {}
        """The endpoints of each source that has found some, by the index of the source."""
        self._starting = True
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        first = [asyncio.get_running_loop().create_future() for _ in self._sources]
        self._tasks = [asyncio.create_task(self._follow(index, found)) for index, found in enumerate(first)]
        try:
            if first:
                found, missing = await asyncio.wait(first, timeout=self._first_timeout)
                for each in found:
                    each.result()
                if missing:
                    names = [str(source) for source, each in zip(self._sources, first, strict=True) if each in missing]
                    logger.warning("no replicas are known yet of %s", ", ".join(names))
            self._starting = False
            self._changed.clear()
            await self._update(self._endpoints())
        except BaseException:
            await self._stop()
            raise
        self._tasks.append(asyncio.create_task(self._apply()))
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stop()

    async def _follow(self, index: int, first: asyncio.Future[None]) -> None:
        """Remember the latest endpoints of a source. The result of `first` is that of the first endpoints."""
        source = self._sources[index]
        while True:
            try:
                async with aclosing(source.watch()) as found:
                    async for endpoints in found:
                        self._known[index] = endpoints
                        self._changed.set()
                        if not first.done():
                            first.set_result(None)
            except SettingsError as error:
                if self._starting:
                    first.set_exception(error)
                    return
                logger.error("%s: %s", source, error.message)
            await asyncio.sleep(_RETRY_INTERVAL)

    async def _apply(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._update(self._endpoints())
            except Exception:
                # Without this task, the pool would never change again.
                logger.exception("the replicas of a pool could not be changed; the next change is another attempt")

    def _endpoints(self) -> list[Endpoint]:
        by_address: dict[str, Endpoint] = {}
        for endpoint in chain(self._fixed, *(self._known[index] for index in sorted(self._known))):
            by_address.setdefault(endpoint.address, endpoint)
        return list(by_address.values())

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
