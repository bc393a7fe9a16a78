"""Streams are closed by whoever reads them, before anything else happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

Item = TypeVar("Item")


@asynccontextmanager
async def closing(stream: AsyncIterator[Item]) -> AsyncIterator[AsyncIterator[Item]]:
    """Within, read a worker's stream; on exit it is closed, so that the worker stops now and not at collection.

    As `contextlib.aclosing`, for the protocols' plain `AsyncIterator`, of which only generators can be closed.
    """
    try:
        yield stream
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
