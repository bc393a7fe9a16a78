"""Signs of life on a stream that has nothing to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Generic, TypeVar

from motet.core.closing import closing

Item = TypeVar("Item")


async def with_pulse(stream: AsyncIterator[Item], interval: float) -> AsyncGenerator[list[Item], None]:
    """What the stream has said since it was last asked for; nothing, [], after every `interval` seconds of silence.

    Closing this closes the stream, which is read ahead of whoever reads this: what it says must be kept elsewhere
    anyway, as events are in a log.
    """
    # One task for all items: waiting for each in a task of its own, with a timeout, costs more than sending it.
    ear: _Ear[Item] = _Ear()
    reading = asyncio.create_task(ear.listen(stream))
    try:
        while (heard := await ear.hear(interval)) is not None:
            yield heard
        await reading
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        reading.cancelled() or reading.exception()


class _Ear(Generic[Item]):
    """Where what a stream says waits to be heard."""

    def __init__(self) -> None:
        self._said: list[Item] = []
        self._over = False
        self._news: asyncio.Future[None] | None = None

    async def listen(self, stream: AsyncIterator[Item]) -> None:
        """Take in all that the stream says."""
        try:
            async with closing(stream):
                async for item in stream:
                    self._said.append(item)
                    self._wake()
        finally:
            self._over = True
            self._wake()

    async def hear(self, interval: float) -> list[Item] | None:
        """What was said and not heard before, once there is any or the interval is over; None after the last."""
        if not self._said and not self._over:
            loop = asyncio.get_running_loop()
            self._news = loop.create_future()
            timer = loop.call_later(interval, self._wake)
            try:
                await self._news
            finally:
                timer.cancel()
        if self._over and not self._said:
            return None
        said, self._said = self._said, []
        return said

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
