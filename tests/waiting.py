"""Waiting in tests of asynchronous code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def turns(times: int = 10) -> None:
    """Yield to the event loop, so that all ready tasks run."""
    for _ in range(times):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true. Raise `TimeoutError` after 10 seconds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)
