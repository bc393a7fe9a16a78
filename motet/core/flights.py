"""Work that several want at the same moment, done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from typing import Generic, TypeVar

from motet.core.closing import closing

Item = TypeVar("Item")
Begin = Callable[[], AsyncIterator[Item]]


class Flights(Generic[Item]):
    """Streams under way, each read once and told to all who have joined it. They belong to one event loop.

    No item may be None.
    """

    def __init__(self) -> None:
        self._aloft: dict[Hashable, _Flight[Item]] = {}

    def __contains__(self, key: Hashable) -> bool:
        """Whether a stream is under way for a key."""
        return key in self._aloft

    async def join(self, key: Hashable, begin: Begin[Item]) -> AsyncGenerator[Item, None]:
        """The items of the key's stream; `begin` makes one where none is under way.

        Who joins late is told the latest item and then the rest. What the stream raises, all are told. It goes on for
        as long as anybody listens: the last to leave stops it, and has left when it has stopped.
        """
        flight = self._aloft.get(key)
        if flight is None:
            flight = self._aloft[key] = _Flight(begin, lambda ended: self._forget(key, ended))
        listener = flight.board()
        try:
            while (item := await listener.get()) is not None:
                yield item
            flight.outcome()
        finally:
            await flight.leave(listener)

    def _forget(self, key: Hashable, ended: _Flight[Item]) -> None:
        if self._aloft.get(key) is ended:
            del self._aloft[key]


class _Flight(Generic[Item]):
    """One stream and its listeners. `on_end` is called when nobody may join any more."""

    def __init__(self, begin: Begin[Item], on_end: Callable[[_Flight[Item]], None]) -> None:
        self._on_end = on_end
        self._latest: Item | None = None
        self._listeners: list[asyncio.Queue[Item | None]] = []
        self._task = asyncio.create_task(self._fly(begin))
        self._task.add_done_callback(self._land)

    def board(self) -> asyncio.Queue[Item | None]:
        """What a new listener is told: items, then None."""
        listener: asyncio.Queue[Item | None] = asyncio.Queue()
        self._listeners.append(listener)
        if self._latest is not None:
            listener.put_nowait(self._latest)
        return listener

    async def leave(self, listener: asyncio.Queue[Item | None]) -> None:
        """One listener less; without any, the work stops, which this waits for."""
        self._listeners.remove(listener)
        if not self._listeners and not self._task.done():
            self._on_end(self)
            self._task.cancel()
            await asyncio.wait([self._task])

    def outcome(self) -> None:
        """Raises what the stream raised, if it did."""
        self._task.result()

    async def _fly(self, begin: Begin[Item]) -> None:
        async with closing(begin()) as stream:
            async for item in stream:
                self._latest = item
                for listener in self._listeners:
                    listener.put_nowait(item)

    def _land(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # looked at even if nobody is left to be told, or asyncio complains
        self._on_end(self)
        for listener in self._listeners:
            listener.put_nowait(None)
