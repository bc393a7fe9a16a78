"""The end of child processes."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def kill_process(process: asyncio.subprocess.Process) -> None:
    """Kill the process, if it still runs, and wait until it ended and its pipes are closed.

    A cancellation takes effect only afterwards: a caller that left earlier would leave the process to the garbage
    collector, or without an owner if its event loop ends. The output that was not read is lost.
    """
    with suppress(ProcessLookupError):
        process.kill()
    end = asyncio.create_task(_end_of(process))
    cancelled = None
    while not end.done():
        try:
            await asyncio.wait([end])
        except asyncio.CancelledError as error:
            cancelled = error
        if end.cancelled():  # by an event loop that ends, and cancels each of its tasks once
            end = asyncio.create_task(_end_of(process))
    if cancelled:
        raise cancelled
    end.result()


async def _end_of(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of a killed process."""
    try:
        # `wait` alone never returns while unread output fills the buffer of the process's stream (Python 3.11).
        await process.communicate()
    except RuntimeError:
        # Another task reads the output to its end.
        await process.wait()
