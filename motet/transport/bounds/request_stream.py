"""The messages of a request that is a stream, bounded in number and in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from motet.core.clock import now
from motet.core.errors import DeadlineError, Reason, RequestError
from motet.transport.bounds.limits import CallLimits

MAX_STREAM_MESSAGES = 16_384
"""Maximum number of messages in the request of a stream. The protos of `Encode` and `UploadArtifact` name it."""


async def bounded(requests: AsyncIterator[Any], limits: CallLimits) -> AsyncGenerator[Any, None]:
    """Yield the messages of a request. Only the time in which this server waits for its caller counts.

    Raises `DeadlineError` if the messages stop or are slow, and `RequestError` if they are too many.
    """
    count, size, waited = 0, 0, 0.0
    while True:
        started = now()
        slowest = limits.receive_timeout + size / limits.min_receive_rate - waited
        try:
            async with asyncio.timeout(min(limits.receive_timeout, slowest)):
                request = await anext(requests)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise DeadlineError(
                f"the request stopped for {limits.receive_timeout:g} s, or had fewer than "
                f"{limits.min_receive_rate:g} bytes per second; send it again",
                metadata={"receive_timeout": f"{limits.receive_timeout:g}"},
            ) from None
        waited += now() - started
        size += len(request) if isinstance(request, bytes) else request.ByteSize()
        count += 1
        if count > MAX_STREAM_MESSAGES:
            raise RequestError(
                f"a stream may have at most {MAX_STREAM_MESSAGES} messages; send larger chunks",
                Reason.LIMIT_EXCEEDED,
                {"limit": str(MAX_STREAM_MESSAGES)},
            )
        yield request
