"""How an encoder treats several pieces of media: each by itself, all at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, MediaError
from motet.core.media import Media
from motet.core.tensors import Tensor

Embed = Callable[[Media], Awaitable[Tensor]]


async def encode_each(media: Sequence[Media], embed: Embed, deadline: Deadline) -> list[Tensor]:
    """What `embed` makes of each, in order; as `Encoder.encode` promises.

    The first error in that order is raised, a `MediaError` with the index of its piece. All that still goes on then,
    or when the deadline passes, is stopped first.
    """
    deadline.check("the encoder was about to begin")
    tasks = [asyncio.create_task(_placed(index, item, embed)) for index, item in enumerate(media)]
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


async def _placed(index: int, item: Media, embed: Embed) -> Tensor:
    try:
        return await embed(item)
    except MediaError as error:
        raise MediaError(error.message, error.reason, {**error.metadata, "index": str(index)}) from error
