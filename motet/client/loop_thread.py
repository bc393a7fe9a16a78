"""An event loop in its own thread, for callers without an event loop."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

from motet.core.errors import CancelledError, RequestError
from motet.transport.channel import check_process

Result = TypeVar("Result")
_END = object()


class LoopThread:
    """A thread with an event loop that runs coroutines and streams for other threads, up to the end of the process.

    All blocking clients share one, see `shared`. gRPC's asyncio interface delivers the last events of a connection
    after it was closed, and reports an error if the event loop is closed by then.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_report)
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run_loop, name="motet", daemon=True)
        self._thread.start()
        # Python stops daemon threads after this handler, and a stream that is open then could never be closed.
        atexit.register(self._close)

    @classmethod
    def shared(cls) -> LoopThread:
        """Return the thread that all blocking clients of this process share."""
        global _shared
        with _lock:
            if _shared is None or _shared._closed:
                _shared = cls()
            return _shared

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine and return its result. An interrupt of the waiting thread cancels the coroutine.

        Raise `RequestError` in a forked process, and `CancelledError` if the client is closed during the call.
        """
        try:
            check_process()
            if self._closed:
                raise RequestError("the process ends; make no more calls")
        except BaseException:
            coroutine.close()
            raise
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
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

    @contextmanager
    def enter(self, manager: AbstractAsyncContextManager[Result]) -> Iterator[Result]:
        """Enter an asynchronous context manager, and leave it at the end of the context."""
        entered = self.run(manager.__aenter__())
        try:
            yield entered
        except BaseException as error:
            if self._closed or not self.run(_leave(manager, error)):
                raise
        else:
            self.run(_leave(manager, None))

    @property
    def _closed(self) -> bool:
        """True at the end of the process, and in a forked process, which has no copy of the thread."""
        return self._loop.is_closed() or self._process != os.getpid()

    def _close(self) -> None:
        """Cancel everything that runs in the event loop, and wait for the thread to end."""
        if not self._closed:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run_loop(self) -> None:
        # The runner cancels all tasks and closes all streams at its end.
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._stop.wait())

    def _close_stream(self, stream: AsyncGenerator[Any, None]) -> None:
        if self._closed:
            return
        if threading.current_thread() is self._thread:
            # The garbage collector runs in any thread. The event loop's own thread must not wait for the loop.
            self._loop.create_task(_close(stream))
        else:
            self.run(_close(stream))


_shared: LoopThread | None = None
_lock = threading.Lock()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report an error in the event loop, except that gRPC has an event for a loop of another client that is closed."""
    if "PollerCompletionQueue" not in str(context.get("handle")):
        loop.default_exception_handler(context)


async def _leave(manager: AbstractAsyncContextManager[Any], error: BaseException | None) -> bool | None:
    return await manager.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)


async def _next(stream: AsyncGenerator[Any, None]) -> Any:
    return await anext(stream, _END)


async def _close(stream: AsyncGenerator[Any, None]) -> None:
    await stream.aclose()
