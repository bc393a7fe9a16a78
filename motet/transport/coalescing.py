"""Streams in bunches: what is ready at the same moment goes on together."""

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
    weigh: Callable[[Item], int] = lambda item: 0,
    room: float = math.inf,
    pulse: float | None = None,
    rest: float = 0.0,
) -> AsyncGenerator[list[Item], None]:
    """What the stream has said since this was last asked; with `pulse`, also [] after so many seconds of silence.

    Nothing waits for company, but that before each bunch at least `rest` seconds pass, if the stream goes on. The
    stream is read ahead of whoever reads this, until what nobody has heard yet weighs `room` or more: without
    `room`, it must be kept elsewhere anyway. Closing this closes the stream.
    """
    # One task for all items: waiting for each in a task of its own, with a timeout, costs more than sending it.
    ear = _Ear(weigh, room)
    reading = asyncio.create_task(ear.listen(stream))
    try:
        while (heard := await ear.hear(rest, pulse)) is not None:
            yield heard
        await reading
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        reading.cancelled() or reading.exception()


class _Ear(Generic[Item]):
    """Where what a stream says waits to be heard."""

    def __init__(self, weigh: Callable[[Item], int], room: float) -> None:
        self._weigh = weigh
        self._room = room
        self._said: list[Item] = []
        self._weight = 0
        self._over = False
        self._news: asyncio.Future[None] | None = None
        """Who waits for something to hear."""
        self._space: asyncio.Future[None] | None = None
        """Who waits for room."""
        self._end: asyncio.Future[None] | None = None
        """Who rests, until there is nothing to wait for."""

    async def listen(self, stream: AsyncIterator[Item]) -> None:
        """Take in all that the stream says."""
        try:
            async with closing(stream):
                async for item in stream:
                    self._said.append(item)
                    self._weight += self._weigh(item)
                    _wake(self._news)
                    while self._weight >= self._room:
                        self._space = asyncio.get_running_loop().create_future()
                        await self._space
        finally:
            self._over = True
            _wake(self._news)
            _wake(self._end)

    async def hear(self, rest: float, pulse: float | None) -> list[Item] | None:
        """What was said and not heard before, after a rest, once there is any or the pulse beats; None after the last.

        The end of the stream ends the rest.
        """
        if rest and not self._over:
            self._end = asyncio.get_running_loop().create_future()
            await _within(rest, self._end)
        if not self._said and not self._over:
            self._news = asyncio.get_running_loop().create_future()
            await _within(pulse, self._news)
        if self._over and not self._said:
            return None
        said, self._said, self._weight = self._said, [], 0
        _wake(self._space)
        return said


async def _within(seconds: float | None, waiting: asyncio.Future[None]) -> None:
    timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, _wake, waiting)
    try:
        await waiting
    finally:
        if timer is not None:
            timer.cancel()


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
