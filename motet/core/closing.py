"""Streams are closed by whoever reads them, before anything else happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class closing(Generic[Item]):  # noqa: N801 - it reads as a verb: `async with closing(stream) as items`
    """Within, read a worker's stream; on exit it is closed, so that the worker stops now and not at collection.

    As `contextlib.aclosing`, for the protocols' plain `AsyncIterator`, of which only generators can be closed.
    """

    def __init__(self, stream: AsyncIterator[Item]) -> None:
        self._stream = stream

    async def __aenter__(self) -> AsyncIterator[Item]:
        return self._stream

    async def __aexit__(self, *exception: object) -> None:
        await close(self._stream)


async def close(stream: AsyncIterator[Any]) -> None:
    """Close a stream now, if it is one that can be closed."""
    aclose = getattr(stream, "aclose", None)
    if aclose is not None:
        await aclose()
