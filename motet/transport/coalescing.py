"""Coalescing: items of a stream that are ready at the same moment travel in one message."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Generic, TypeVar

from motet.core.closing import closing

Item = TypeVar("Item")


async def coalesced(
    stream: AsyncIterator[Item],
    *,
    size_of: Callable[[Item], int] = lambda item: 0,
    max_bytes: float = math.inf,
    heartbeat: float | None = None,
    min_interval: float = 0.0,
) -> AsyncGenerator[list[Item], None]:
    """Yield the items of a stream in lists: everything the stream produced since the last list.

    Lists are at least `min_interval` seconds apart, except the last one. If `heartbeat` is given, yield [] after that
    many seconds without an item. The stream is read ahead until the unread items take `max_bytes` bytes or more, as
    measured by `size_of`. Closing this generator closes the stream.
    """
    # One task reads all items. A task with a timeout for each item costs more than sending the item.
    buffer = _Buffer(size_of, max_bytes)
    filling = asyncio.create_task(buffer.fill(stream))
    try:
        while (items := await buffer.take(min_interval, heartbeat)) is not None:
            yield items
        await filling
    finally:
        filling.cancel()
        await asyncio.wait({filling})
        filling.cancelled() or filling.exception()


class _Buffer(Generic[Item]):
    """The items of a stream that have been produced and not yet taken."""

    def __init__(self, size_of: Callable[[Item], int], max_bytes: float) -> None:
        self._size_of = size_of
        self._max_bytes = max_bytes
        self._items: list[Item] = []
        self._bytes = 0
        self._ended = False
        self._item_waiter: asyncio.Future[None] | None = None
        """Done when there is an item, or when the stream has ended."""
        self._space_waiter: asyncio.Future[None] | None = None
        """Done when the items have been taken."""
        self._end_waiter: asyncio.Future[None] | None = None
        """Done when the stream has ended."""

    async def fill(self, stream: AsyncIterator[Item]) -> None:
        """Read the stream to its end. Pause while the buffer is full."""
        try:
            async with closing(stream):
                async for item in stream:
                    self._items.append(item)
                    self._bytes += self._size_of(item)
                    _wake(self._item_waiter)
                    while self._bytes >= self._max_bytes:
                        self._space_waiter = asyncio.get_running_loop().create_future()
                        await self._space_waiter
        finally:
            self._ended = True
            _wake(self._item_waiter)
            _wake(self._end_waiter)

    async def take(self, min_interval: float, heartbeat: float | None) -> list[Item] | None:
        """Wait `min_interval` seconds, then for an item, and return all items; return None after the last one.

        The end of the stream ends the first wait. After `heartbeat` seconds without an item, return [].
        """
        if min_interval and not self._ended:
            self._end_waiter = asyncio.get_running_loop().create_future()
            await _wait(self._end_waiter, min_interval)
        if not self._items and not self._ended:
            self._item_waiter = asyncio.get_running_loop().create_future()
            await _wait(self._item_waiter, heartbeat)
        if self._ended and not self._items:
            return None
        items, self._items, self._bytes = self._items, [], 0
        _wake(self._space_waiter)
        return items


async def _wait(waiter: asyncio.Future[None], seconds: float | None) -> None:
    """Wait for a future, or until `seconds` have passed."""
    timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, _wake, waiter)
    try:
        await waiter
    finally:
        if timer is not None:
            timer.cancel()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
