"""How a worker's stream is read: closed for certain, and with its accidents turned into our errors."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Generic, Self, TypeVar

from motet.core.closing import closing
from motet.core.errors import FaultError, MotetError

Item = TypeVar("Item")
logger = logging.getLogger(__name__)


class worker_stream(closing[Item], Generic[Item]):  # noqa: N801 - it reads as a verb: `async with hearing(worker, stream)`
    """As `closing`, and what the stream raises is treated by `translate_errors`; what its reader raises is not."""

    # A class and not two generators: each item of every stream comes through here.

    def __init__(self, worker: str, stream: AsyncIterator[Item]) -> None:
        super().__init__(stream)
        self._worker = worker
        self._items = aiter(stream)

    async def __aenter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        try:
            return await anext(self._items)
        except (StopAsyncIteration, MotetError):
            raise
        except Exception as error:
            raise _blame(self._worker) from error


@contextmanager
def translate_errors(worker: str) -> Iterator[None]:
    """Turn what a worker raises against its promise into `FaultError`; the original goes to the log, not to callers."""
    try:
        yield
    except MotetError:
        raise
    except Exception as error:
        raise _blame(worker) from error


def _blame(worker: str) -> FaultError:
    logger.exception("%s failed unexpectedly", worker)
    return FaultError(f"{worker} failed; the operator's log says why")
