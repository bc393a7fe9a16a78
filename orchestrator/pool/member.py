"""A worker of a pool, and how the pool learns its load."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from motet.core.workers import Load

Worker = TypeVar("Worker")
Loads = Callable[[], AsyncIterator[Load]]
"""Opens the stream of a worker's load. It ends, or raises `MotetError`, when the worker cannot be reached."""


async def _close_nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Member(Generic[Worker]):
    """A worker of a pool. `loads` opens the stream of its load, None is for this process.

    Log lines and metrics name `address`. `bundle_digest` is that of the bundle that the worker must serve; "" allows
    every bundle. A `balanced` member stands for several replicas, and something else balances its calls: a call that
    failed there may succeed there at once. The pool calls `close` once, when the member's last call has ended after the
    member left the pool, or when the pool is closed.
    """

    worker: Worker
    loads: Loads | None = None
    address: str = "this process"
    close: Callable[[], Awaitable[None]] = _close_nothing
    bundle_digest: str = ""
    balanced: bool = False
