"""A queue that carries events from an engine's thread to an event loop."""

from __future__ import annotations

import asyncio
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class _Closed:
    """The last entry of a queue that was closed without an error."""


class EventQueue(Generic[T]):
    """A queue of one request's events. Any thread can write to it; the event loop that created it reads it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[T | BaseException | _Closed] = asyncio.Queue()
        self._closed = False

    def put(self, event: T) -> None:
        """Append an event. Raises RuntimeError if the event loop is closed."""
        self._loop.call_soon_threadsafe(self._queue.put_nowait, event)

    def close(self, error: BaseException | None = None) -> None:
        """Close the queue. If `error` is given, the reader gets it last. Raises RuntimeError if the loop is closed."""
        self._loop.call_soon_threadsafe(self._queue.put_nowait, error or _Closed())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """Return the next event, or raise the error that the queue was closed with."""
        if self._closed:
            raise StopAsyncIteration
        event = await self._queue.get()
        if isinstance(event, _Closed):
            self._closed = True
            raise StopAsyncIteration
        if isinstance(event, BaseException):
            self._closed = True
            raise event
        return event

    async def wait_closed(self) -> None:
        """Wait until the queue is closed. Drop all unread events."""
        while not self._closed:
            self._closed = isinstance(await self._queue.get(), _Closed | BaseException)
