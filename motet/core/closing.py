"""The closing of streams by their reader."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class closing(Generic[Item]):  # noqa: N801 - it reads as a verb: `async with closing(stream) as items`
    """Close a worker's stream on exit, so that the worker stops at once and not at garbage collection.

    Like `contextlib.aclosing`, but for any `AsyncIterator`: an iterator without `aclose` is left as it is.
    """

    def __init__(self, stream: AsyncIterator[Item]) -> None:
        self._stream = stream

    async def __aenter__(self) -> AsyncIterator[Item]:
        return self._stream

    async def __aexit__(self, *exception: object) -> None:
        await close(self._stream)


async def close(stream: AsyncIterator[Any]) -> None:
    """Close a stream, if it has an `aclose` method."""
    aclose = getattr(stream, "aclose", None)
    if aclose is not None:
        await aclose()
