"""Streams of workers that are always closed, and whose unexpected exceptions become `FaultError`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Generic, Self, TypeVar

from motet.core.closing import closing
from motet.core.errors import FaultError, MotetError

Item = TypeVar("Item")
logger = logging.getLogger(__name__)


class worker_stream(closing[Item], Generic[Item]):  # noqa: N801 - used as a verb: `async with worker_stream(name, stream)`
    """Close a worker's stream on exit, and translate the exceptions it raises as `translate_errors` does.

    Exceptions of the code that reads the stream are not translated.
    """

    # A class is cheaper per item than two nested generators, and all items of all workers pass here.

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
            raise _fault_of(self._worker) from error


@contextmanager
def translate_errors(worker: str) -> Iterator[None]:
    """Turn an exception that is no `MotetError` into `FaultError`. The original goes to the log, not to callers."""
    try:
        yield
    except MotetError:
        raise
    except Exception as error:
        raise _fault_of(worker) from error


def _fault_of(worker: str) -> FaultError:
    logger.exception("%s failed unexpectedly", worker)
    return FaultError(f"{worker} failed; the operator's log says why")
