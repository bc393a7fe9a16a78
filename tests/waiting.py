"""How tests wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def turns(times: int = 10) -> None:
    """Let every other task do what it can."""
    for _ in range(times):
        await asyncio.sleep(0)


async def until(true: Callable[[], bool]) -> None:
    """Wait until something holds, for ten seconds at most."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.002)
