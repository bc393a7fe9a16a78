"""An event loop in its own thread, for callers without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any, TypeVar

Result = TypeVar("Result")
_END = object()


class LoopThread:
    """A thread with an event loop that runs coroutines and streams for other threads. The owner must close it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="motet", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine and return its result. An interrupt of the waiting thread cancels the coroutine."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def read(self, stream: AsyncGenerator[Result, None]) -> Generator[Result, None, None]:
        """Yield the stream's items. Closing the generator closes the stream and waits until the stream is closed."""
        try:
            while (item := self.run(_next(stream))) is not _END:
                yield item
        finally:
            self.run(stream.aclose())

    def close(self) -> None:
        """Stop the event loop and wait for its thread to end."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _next(stream: AsyncGenerator[Any, None]) -> Any:
    return await anext(stream, _END)
