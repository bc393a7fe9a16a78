"""How a worker's stream is read: closed for certain, and with its accidents turned into our errors."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import TypeVar

from motet.core.closing import closing
from motet.core.errors import FaultError, MotetError

Item = TypeVar("Item")
logger = logging.getLogger(__name__)


@asynccontextmanager
async def hearing(worker: str, stream: AsyncIterator[Item]) -> AsyncIterator[AsyncIterator[Item]]:
    """As `closing`, and what the stream raises is treated by `blaming`; what its reader raises is not."""
    async with closing(stream), aclosing(_blamed(worker, stream)) as items:
        yield items


@contextmanager
def blaming(worker: str) -> Iterator[None]:
    """Turn what a worker raises against its promise into `FaultError`; the original goes to the log, not to callers."""
    try:
        yield
    except MotetError:
        raise
    except Exception as error:
        logger.exception("%s failed unexpectedly", worker)
        raise FaultError(f"{worker} failed; the operator's log says why") from error


async def _blamed(worker: str, stream: AsyncIterator[Item]) -> AsyncGenerator[Item, None]:
    with blaming(worker):
        async for item in stream:
            yield item
