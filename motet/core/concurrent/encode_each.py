"""The concurrent encoding of several media, each separately, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, MediaError
from motet.core.media import Media
from motet.core.tensors import Tensor

T = TypeVar("T")
Embed = Callable[[Media], Awaitable[Tensor]]


async def encode_each(media: Sequence[Media], embed: Embed, deadline: Deadline) -> list[Tensor]:
    """Run `embed` on all media concurrently and return the results in order, see `Encoder.encode`.

    If several fail, raise the error of the lowest index. A `MediaError` gets its index in `metadata["index"]`. On an
    error or at the deadline, cancel the other tasks and wait for their end before raising.
    """
    deadline.check("the encoder was starting")
    try:
        async with asyncio.timeout(deadline.remaining()) as limit:
            return await run_concurrently(_embed_at(index, item, embed) for index, item in enumerate(media))
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeadlineError("the deadline passed while the encoder was reading media; allow more time") from error


async def run_concurrently(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines concurrently and return their results in order.

    If several fail, raise the error of the first in that order. On an error or a cancellation, cancel the other
    coroutines and wait for their end before raising.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return [await task for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _embed_at(index: int, item: Media, embed: Embed) -> Tensor:
    try:
        return await embed(item)
    except MediaError as error:
        raise MediaError(error.message, error.reason, {**error.metadata, "index": str(index)}) from error
