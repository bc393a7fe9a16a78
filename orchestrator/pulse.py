"""Signs of life on a stream that has nothing to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from motet.core.closing import closing

Item = TypeVar("Item")


async def with_pulse(stream: AsyncIterator[Item], interval: float) -> AsyncGenerator[Item | None, None]:
    """What the stream says, and None after every `interval` seconds of silence. Closing this closes the stream.

    The stream is read ahead of whoever reads this: what it says must be kept elsewhere anyway, as events are in a log.
    """
    # One task for all items: waiting for each in a task of its own, with a timeout, costs more than sending it.
    said: asyncio.Queue[Item | _End] = asyncio.Queue()
    reading = asyncio.create_task(_read(stream, said))
    try:
        while not isinstance(item := await _next(said, interval), _End):
            yield item
        await reading
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        reading.cancelled() or reading.exception()


class _End:
    """No stream says this."""


async def _read(stream: AsyncIterator[Item], said: asyncio.Queue[Item | _End]) -> None:
    try:
        async with closing(stream):
            async for item in stream:
                said.put_nowait(item)
    finally:
        said.put_nowait(_End())


async def _next(said: asyncio.Queue[Item | _End], interval: float) -> Item | _End | None:
    if not said.empty():
        return said.get_nowait()
    try:
        async with asyncio.timeout(interval):
            return await said.get()
    except TimeoutError:
        return None
