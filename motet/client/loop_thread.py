"""An event loop in its own thread, for callers without an event loop."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any, TypeVar

from motet.core.errors import CancelledError, RequestError
from motet.transport.channel import check_process, is_forked

Result = TypeVar("Result")
_END = object()


class LoopThread:
    """A thread with an event loop that runs coroutines and streams for other threads.

    The owner must close it. At the end of the process, it is closed in any case.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run_loop, name="motet", daemon=True)
        self._thread.start()
        # Python stops daemon threads after this handler, and a stream that is open then could never be closed.
        atexit.register(self.close)

    @property
    def closed(self) -> bool:
        """True after `close`, and in a forked process, which has no copy of the thread."""
        return self._loop.is_closed() or is_forked()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine and return its result. An interrupt of the waiting thread cancels the coroutine.

        Raise `RequestError` if this object is closed or the process was forked, and `CancelledError` if it is closed
        during the call.
        """
        try:
            check_process()
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except BaseException as error:
            coroutine.close()
            if isinstance(error, RuntimeError):
                raise RequestError("the client is closed; create a new client") from None
            raise
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise CancelledError("the client was closed during the call") from None
        except BaseException:
            future.cancel()
            raise

    def read(self, stream: AsyncGenerator[Result, None]) -> Generator[Result, None, None]:
        """Yield the stream's items. Closing the generator closes the stream and waits until the stream is closed."""
        try:
            while (item := self.run(_next(stream))) is not _END:
                yield item
        finally:
            self._close_stream(stream)

    def close(self) -> None:
        """Cancel everything that runs in the event loop, and wait for the thread to end."""
        atexit.unregister(self.close)
        if self.closed:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run_loop(self) -> None:
        # The runner cancels all tasks and closes all streams at its end.
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._stop.wait())

    def _close_stream(self, stream: AsyncGenerator[Any, None]) -> None:
        if self.closed:
            return
        if threading.current_thread() is self._thread:
            # The garbage collector runs in any thread. The event loop's own thread must not wait for the loop.
            self._loop.create_task(_close(stream))
        else:
            self.run(_close(stream))


async def _next(stream: AsyncGenerator[Any, None]) -> Any:
    return await anext(stream, _END)


async def _close(stream: AsyncGenerator[Any, None]) -> None:
    await stream.aclose()
