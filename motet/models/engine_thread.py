"""The thread that runs an engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

from motet.core.errors import OverloadedError, Reason, RetryableError

T = TypeVar("T")


class EngineThread(Generic[T]):
    """A thread that calls `step` as long as there is work, and sleeps otherwise.

    `step(arrived, closed)` gets the items submitted since its last call, runs one iteration, and returns whether work
    is left. If `closed` is true, `step` must stop all work and return False. An error that `step` raises is passed to
    `fail`, which must stop all work of the engine, including the items that `step` received.
    """

    def __init__(self, name: str, step: Callable[[list[T], bool], bool], fail: Callable[[BaseException], None]) -> None:
        self._name, self._step, self._fail = name, step, fail
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name.replace(" ", "-"))
        self._lock = threading.Lock()
        self._arrived: list[T] = []
        self._running = self._closed = False

    def submit(self, item: T) -> None:
        """Pass an item to the next step, from any thread. Raises `RetryableError` after `close`."""
        with self._lock:
            if self._closed:
                raise self.closed_error()
            self._arrived.append(item)
            if not self._running:
                self._running = True
                self._executor.submit(self._run)

    @property
    def idle(self) -> bool:
        """True if the thread sleeps because there is no work."""
        return not self._running

    @property
    def arrived(self) -> int:
        """The number of items that no step has received yet."""
        return len(self._arrived)

    def closed_error(self) -> RetryableError:
        """Return the error for work that `close` stops or refuses."""
        return RetryableError(f"the {self._name} is closing; use another replica", Reason.DRAINING)

    def close(self) -> None:
        """Stop the thread after its last step, in which `closed` is true. Wait for the current step."""
        with self._lock:
            self._closed = True
        self._executor.shutdown(wait=True)

    def _run(self) -> None:
        busy = True
        while busy:
            with self._lock:
                arrived, self._arrived, closed = self._arrived, [], self._closed
            try:
                busy = self._step(arrived, closed)
            except BaseException as error:
                self._fail(error)
                busy = False
            with self._lock:
                busy = self._running = busy or bool(self._arrived)


def engine_error(error: BaseException, engine: str) -> BaseException:
    """Return the error to report when `error` stopped a request of an engine with this name.

    A lack of GPU memory becomes an `OverloadedError`. Any other error is returned unchanged.
    """
    if not isinstance(error, torch.OutOfMemoryError):
        return error
    overload = OverloadedError(
        f"the {engine} ran out of GPU memory; try again later, or use another replica", Reason.OUT_OF_MEMORY
    )
    overload.__cause__ = error
    return overload
