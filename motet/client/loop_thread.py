"""An event loop on a thread of its own, for callers who have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any, TypeVar

Result = TypeVar("Result")
_END = object()


class LoopThread:
    """Runs coroutines and reads streams for threads that wait. Close it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="motet", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """The coroutine's result. A wait that is interrupted cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def read(self, stream: AsyncGenerator[Result, None]) -> Generator[Result, None, None]:
        """The stream's items. Closing the generator closes the stream, and waits until that is done."""
        try:
            while (item := self.run(_next(stream))) is not _END:
                yield item
        finally:
            self.run(stream.aclose())

    def close(self) -> None:
        """Stop the loop, and wait for its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _next(stream: AsyncGenerator[Any, None]) -> Any:
    return await anext(stream, _END)
