"""The clock of all deadlines, durations and timeouts.

In a running event loop the clock is the loop's time, so a loop with a virtual clock (a simulation, a test) controls
every deadline. The standard loops use `time.monotonic()`, so this clock equals `time.monotonic()` in them.
"""

from __future__ import annotations

import asyncio
import time


def now() -> float:
    """Return this thread's time in seconds. The zero point is arbitrary: only differences have a meaning."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()
