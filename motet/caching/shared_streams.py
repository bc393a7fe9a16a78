"""Work that several want at the same moment, done once."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from functools import partial
from typing import Generic, Self, TypeVar

from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError

Item = TypeVar("Item")
Begin = Callable[[Deadline], AsyncIterator[Item]]
"""Makes a stream that is to end before a deadline."""


class SharedStreams(Generic[Item]):
    """Streams under way, each read once and told to all who have joined it. They belong to one event loop."""

    def __init__(self) -> None:
        self._aloft: dict[Hashable, _SharedStream[Item]] = {}

    def __contains__(self, key: Hashable) -> bool:
        """Whether a stream is under way for a key."""
        flight = self._aloft.get(key)
        return flight is not None and not flight.over

    def join(self, key: Hashable, begin: Begin[Item], deadline: Deadline) -> Subscription[Item]:
        """The items of the key's stream; `begin` makes one where none is under way.

        Who joins late is told the latest item and then the rest. What the stream raises, all are told. It goes on for
        as long as anybody listens: each until its own deadline or until it closes what it got here. A stream that runs
        out of the time it was begun with begins again where a listener has more, and has the most that any of them has.
        """
        flight = self._aloft.get(key)
        if flight is None or flight.over:
            flight = self._aloft[key] = _SharedStream(begin, deadline, partial(self._forget, key))
        return Subscription(flight, deadline)

    def _forget(self, key: Hashable, ended: _SharedStream[Item]) -> None:
        if self._aloft.get(key) is ended:
            del self._aloft[key]


class Subscription(Generic[Item]):
    """A stream as one of those who share it hears it. Whoever has one closes it."""

    # A class and not a generator: each item of every stream comes through here.

    def __init__(self, flight: _SharedStream[Item], deadline: Deadline) -> None:
        self.deadline = deadline
        self._flight = flight
        self._heard: deque[Item] = deque()
        self._news: asyncio.Future[None] | None = None
        self._late = False
        self._timer: asyncio.TimerHandle | None = None
        if deadline.at is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline.at, self._run_late)
        flight.board(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        """The next item. Raises `DeadlineError` when there is none before the deadline."""
        while not self._heard:
            if self._late:
                raise DeadlineError("the deadline passed before it was made; allow more time or ask for less")
            if self._flight.over:
                self._flight.outcome()
                raise StopAsyncIteration
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return self._heard.popleft()

    async def aclose(self) -> None:
        """Listen no more. The last to leave stops the stream, and has left when it has stopped."""
        if self._timer is not None:
            self._timer.cancel()
        await self._flight.leave(self)

    def hear(self, item: Item) -> None:
        """There is an item more."""
        self._heard.append(item)
        self.wake()

    def wake(self) -> None:
        """Something has changed."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _run_late(self) -> None:
        self._late = True
        self.wake()


class _SharedStream(Generic[Item]):
    """One stream and its listeners. `on_end` is called with it when nobody may join any more."""

    # Nothing in it refers to it: it holds the latest item, which is to go when the last listener has gone.

    def __init__(self, begin: Begin[Item], deadline: Deadline, on_end: Callable[[_SharedStream[Item]], None]) -> None:
        self._on_end = on_end
        self._told: tuple[Item, ...] = ()
        """The latest item, if there was one."""
        self._listeners: list[Subscription[Item]] = []
        self._task = asyncio.create_task(self._fly(begin, deadline))
        self._task.add_done_callback(self._land)

    @property
    def over(self) -> bool:
        """Whether there will be no more items."""
        return self._task.done()

    def outcome(self) -> None:
        """Once it is over: raises what the stream raised, if it did."""
        self._task.result()

    def board(self, listener: Subscription[Item]) -> None:
        """One listener more, who is told the latest."""
        self._listeners.append(listener)
        for item in self._told:
            listener.hear(item)

    async def leave(self, listener: Subscription[Item]) -> None:
        """One listener less; without any, the work stops, which this waits for."""
        if listener not in self._listeners:
            return
        self._listeners.remove(listener)
        if not self._listeners and not self._task.done():
            self._on_end(self)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _fly(self, begin: Begin[Item], deadline: Deadline) -> None:
        while True:
            try:
                return await self._tell(begin(deadline))
            except DeadlineError:
                latest = max((listener.deadline for listener in self._listeners), key=_moment, default=deadline)
                if _moment(latest) <= _moment(deadline):
                    raise
                deadline = latest

    async def _tell(self, stream: AsyncIterator[Item]) -> None:
        async with closing(stream):
            async for item in stream:
                self._told = (item,)
                for listener in self._listeners:
                    listener.hear(item)

    def _land(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # looked at even if nobody is left to be told, or asyncio complains
        self._on_end(self)
        for listener in self._listeners:
            listener.wake()


def _moment(deadline: Deadline) -> float:
    return math.inf if deadline.at is None else deadline.at
