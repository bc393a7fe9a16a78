"""The thread that an engine computes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from motet.core.errors import Reason, RetryableError

T = TypeVar("T")


class EngineThread(Generic[T]):
    """A thread that calls `step` as long as there is work, and sleeps otherwise.

    `step(arrived, closed)` gets the items submitted since its last call, computes one step, and returns whether work
    is left. If `closed`, it must end all of its work and return False. An error that `step` raises is passed to
    `fail`, which must end all of the engine's work, the items that `step` received included.
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
        """Whether the thread sleeps because there is no work."""
        return not self._running

    @property
    def arrived(self) -> int:
        """The number of items that no step has received yet."""
        return len(self._arrived)

    def closed_error(self) -> RetryableError:
        """Return the error for work that `close` ends or refuses."""
        return RetryableError(f"the {self._name} is closing; use another replica", Reason.DRAINING)

    def close(self) -> None:
        """End the thread after a last step in which `closed` is true. Wait for the step that is being computed."""
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
