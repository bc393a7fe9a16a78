"""Streams of workers that are always closed, and whose unexpected exceptions become `FaultError`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Generic, Self, TypeVar

from motet.core.closing import closing
from motet.core.errors import FaultError, MotetError
from motet.core.media import Media
from motet.core.tracing.span import NO_SPAN, Span, end_span, within_span

Item = TypeVar("Item")
logger = logging.getLogger(__name__)


class worker_stream(closing[Item], Generic[Item]):  # noqa: N801 - used as a verb: `async with worker_stream(name, stream)`
    """Close a worker's stream on exit, and translate the exceptions it raises as `translate_errors` does.

    Exceptions of the code that reads the stream are not translated. The span, if there is one, is the current one
    while the worker computes, and ends on exit.
    """

    # A class is cheaper per item than two nested generators, and all items of all workers pass here.

    def __init__(self, worker: str, stream: AsyncIterator[Item], span: Span = NO_SPAN) -> None:
        super().__init__(stream)
        self._worker = worker
        self._span = span
        self._items = within_span(span, stream) if span.recording else aiter(stream)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        try:
            await super().__aexit__(*exception)
        finally:
            if self._span.recording:
                error = exception[1]
                end_span(self._span, error if isinstance(error, BaseException) else None)

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


def checked_media(media: Media, limit: int, decoder: str) -> Media:
    """Return media of a decoder. Raises `FaultError` if they are empty or have more than `limit` bytes."""
    if not media.data or len(media.data) > limit:
        raise FaultError(f"{decoder} returned {len(media.data)} bytes; 1 to {limit} are allowed")
    return media


def _fault_of(worker: str) -> FaultError:
    logger.exception("%s failed unexpectedly", worker)
    return FaultError(f"{worker} failed; the operator's log says why")
