"""The concurrent encoding of several media, each separately."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, MediaError
from motet.core.media import Media
from motet.core.tensors import Tensor

Embed = Callable[[Media], Awaitable[Tensor]]


async def encode_each(media: Sequence[Media], embed: Embed, deadline: Deadline) -> list[Tensor]:
    """Run `embed` on all media concurrently and return the results in order, see `Encoder.encode`.

    If several fail, raise the error of the lowest index. A `MediaError` gets its index in `metadata["index"]`. On an
    error or at the deadline, cancel the other tasks and wait for their end before raising.
    """
    deadline.check("the encoder was starting")
    tasks = [asyncio.create_task(_embed_at(index, item, embed)) for index, item in enumerate(media)]
    try:
        async with asyncio.timeout(deadline.remaining()) as limit:
            return [await task for task in tasks]
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeadlineError("the deadline passed while the encoder was reading media; allow more time") from error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _embed_at(index: int, item: Media, embed: Embed) -> Tensor:
    try:
        return await embed(item)
    except MediaError as error:
        raise MediaError(error.message, error.reason, {**error.metadata, "index": str(index)}) from error
