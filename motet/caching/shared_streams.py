"""Single-flight for streams: concurrent callers with equal keys share one stream."""

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
from motet.core.tracing.span import current_span

Item = TypeVar("Item")
Start = Callable[[Deadline], AsyncIterator[Item]]
"""A function that starts a stream with a deadline."""


class SharedStreams(Generic[Item]):
    """The running streams by key. All calls must be in one event loop."""

    def __init__(self) -> None:
        self._running: dict[Hashable, _SharedStream[Item]] = {}

    def __contains__(self, key: Hashable) -> bool:
        """Return True if a stream runs for the key."""
        stream = self._running.get(key)
        return stream is not None and not stream.done

    def join(
        self,
        key: Hashable,
        start: Start[Item],
        deadline: Deadline,
        on_item: Callable[[Item], bool] = lambda item: False,
    ) -> Subscription[Item]:
        """Subscribe to the key's stream. Call `start` if no stream runs for the key.

        `on_item` is called for each item of a stream that starts, and returns whether the stream ends with the item.

        A late subscriber gets the latest item, then all later items. An error reaches every subscriber. A subscription
        ends at its own deadline or when it is closed. The stream stops with its last subscription.

        The stream has the deadline of its first subscriber. If the stream raises `DeadlineError` and a subscriber has a
        later deadline, the stream starts again with the latest deadline of all subscribers.
        """
        stream = self._running.get(key)
        if stream is None or stream.done:
            stream = self._running[key] = _SharedStream(start, deadline, on_item, partial(self._remove, key))
        else:
            current_span().link(stream.span)
        return Subscription(stream, deadline)

    def _remove(self, key: Hashable, ended: _SharedStream[Item]) -> None:
        if self._running.get(key) is ended:
            del self._running[key]


class Subscription(Generic[Item]):
    """One subscriber's iterator over a shared stream. The subscriber must close it."""

    # A class is faster than a generator, and every item of every stream passes through here.

    def __init__(self, stream: _SharedStream[Item], deadline: Deadline) -> None:
        self.deadline = deadline
        self._stream = stream
        self._items: deque[Item] = deque()
        self._changed: asyncio.Future[None] | None = None
        self._expired = False
        self._timer: asyncio.TimerHandle | None = None
        if deadline.at is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline.at, self._expire)
        stream.add(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        """Return the next item. Raise `DeadlineError` if no item arrives before the deadline."""
        while not self._items:
            if self._expired:
                raise DeadlineError("the deadline passed before the result was ready; allow more time or ask for less")
            if self._stream.done:
                self._stream.raise_error()
                raise StopAsyncIteration
            self._changed = asyncio.get_running_loop().create_future()
            await self._changed
        return self._items.popleft()

    async def aclose(self) -> None:
        """Unsubscribe. The last subscriber stops the stream and waits until the stream has stopped."""
        if self._timer is not None:
            self._timer.cancel()
        await self._stream.remove(self)

    def push(self, item: Item) -> None:
        """Append an item for the subscriber."""
        self._items.append(item)
        self.wake()

    def wake(self) -> None:
        """Wake the subscriber after a change."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _expire(self) -> None:
        self._expired = True
        self.wake()


class _SharedStream(Generic[Item]):
    """A running stream and its subscribers.

    `on_item` is called for each item, before the subscribers get it. `on_end(stream)` is called when no subscriber may
    join any more.
    """

    # No attribute refers back to this object, so the latest item is freed together with the last subscriber.

    def __init__(
        self,
        start: Start[Item],
        deadline: Deadline,
        on_item: Callable[[Item], bool],
        on_end: Callable[[_SharedStream[Item]], None],
    ) -> None:
        self._on_item = on_item
        self._on_end = on_end
        self._latest: tuple[Item, ...] = ()
        """The latest item, or () before the first item."""
        self._subscribers: list[Subscription[Item]] = []
        self._error: BaseException | None = None
        self.done = False
        """True if the stream has ended."""
        self.span = current_span()
        """The span of the first subscriber. Those of the work are its children."""
        self._task = asyncio.create_task(self._run(start, deadline))

    def raise_error(self) -> None:
        """Raise the error of an ended stream, if it has one."""
        if self._error is not None:
            raise self._error

    def add(self, subscriber: Subscription[Item]) -> None:
        """Add a subscriber and send the latest item to it."""
        self._subscribers.append(subscriber)
        for item in self._latest:
            subscriber.push(item)

    async def remove(self, subscriber: Subscription[Item]) -> None:
        """Remove a subscriber. Stop the stream after the last subscriber and wait until the stream has stopped."""
        if subscriber not in self._subscribers:
            return
        self._subscribers.remove(subscriber)
        if not self._subscribers and not self.done:
            self.done = True
            self._on_end(self)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, start: Start[Item], deadline: Deadline) -> None:
        try:
            await self._publish_until(start, deadline)
        except BaseException as error:
            # Without a subscriber, the error and its traceback would only keep the latest item in memory.
            self._error = error if self._subscribers else None
            if not isinstance(error, Exception):
                raise
        finally:
            self.done = True
            self._on_end(self)
            for subscriber in self._subscribers:
                subscriber.wake()

    async def _publish_until(self, start: Start[Item], deadline: Deadline) -> None:
        while True:
            try:
                return await self._publish(start(deadline))
            except DeadlineError:
                latest = max((subscriber.deadline for subscriber in self._subscribers), key=_time, default=deadline)
                if _time(latest) <= _time(deadline):
                    raise
                deadline = latest

    async def _publish(self, stream: AsyncIterator[Item]) -> None:
        async with closing(stream):
            async for item in stream:
                last = self._on_item(item)
                self._latest = (item,)
                for subscriber in self._subscribers:
                    subscriber.push(item)
                if last:
                    return


def _time(deadline: Deadline) -> float:
    return math.inf if deadline.at is None else deadline.at
