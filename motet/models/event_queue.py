"""Queues that carry events from an engine's thread to an event loop."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


class _Closed:
    """The last entry of a queue that was closed without an error."""


class EventQueue(Generic[T]):
    """A queue of one request's events. Any thread can write to it; the event loop that created it reads it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[T | BaseException | _Closed] = asyncio.Queue()
        self._closed = False

    def put(self, event: T) -> None:
        """Append an event. Raises RuntimeError if the event loop is closed."""
        self.loop.call_soon_threadsafe(self.add, event)

    def close(self, error: BaseException | None = None) -> None:
        """Close the queue. If `error` is given, the reader gets it last. Raises RuntimeError if the loop is closed."""
        self.loop.call_soon_threadsafe(self.add, error or _Closed())

    def add(self, entry: T | BaseException | _Closed) -> None:
        """Append an entry, on the event loop."""
        self._queue.put_nowait(entry)

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


class EventBatch:
    """Events for many queues. Each event loop is woken once for all of its events.

    To wake a loop takes a system call, and then the threads compete for Python's lock. So an engine sends the events of
    all requests together.
    """

    def __init__(self) -> None:
        self._entries: dict[asyncio.AbstractEventLoop, list[tuple[EventQueue[Any], Any]]] = {}

    def put(self, queue: EventQueue[T], event: T) -> None:
        """Append an event for a queue."""
        self._entries.setdefault(queue.loop, []).append((queue, event))

    def close(self, queue: EventQueue[Any], error: BaseException | None = None) -> None:
        """Close a queue after its events. If `error` is given, the reader gets it last."""
        self._entries.setdefault(queue.loop, []).append((queue, error or _Closed()))

    def send(self) -> set[EventQueue[Any]]:
        """Send all events, in order. Return the queues whose event loops are closed."""
        unsent: set[EventQueue[Any]] = set()
        for loop, entries in self._entries.items():
            try:
                loop.call_soon_threadsafe(_add_all, entries)
            except RuntimeError:
                unsent.update(queue for queue, _ in entries)
        self._entries.clear()
        return unsent


def _add_all(entries: list[tuple[EventQueue[Any], Any]]) -> None:
    for queue, entry in entries:
        queue.add(entry)
