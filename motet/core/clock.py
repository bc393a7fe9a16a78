"""What time it is, for everything that waits, measures or gives up.

Inside a running event loop it is that loop's time, so that a loop with a clock of its own (a simulation, a test) moves
every deadline with it. The standard loops' time is `time.monotonic()`, so both readings agree there.
"""

from __future__ import annotations

import asyncio
import time


def now() -> float:
    """Seconds on this thread's clock; only differences mean something."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()
