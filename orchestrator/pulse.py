"""Signs of life on a stream that has nothing to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from motet.core.closing import closing

Item = TypeVar("Item")


async def with_pulse(stream: AsyncIterator[Item], interval: float) -> AsyncGenerator[Item | None, None]:
    """What the stream says, and None after every `interval` seconds of silence. Closing this closes the stream."""
    async with closing(stream):
        while True:
            waiting = asyncio.ensure_future(anext(stream, _END))
            try:
                # Waiting with a timeout would cancel the stream's own waiting, and with it the stream.
                while not (await asyncio.wait({waiting}, timeout=interval))[0]:
                    yield None
            finally:
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.wait({waiting})
                    waiting.cancelled() or waiting.exception()
            item = waiting.result()
            if isinstance(item, _End):
                return
            yield item


class _End:
    """No stream says this."""


_END = _End()
