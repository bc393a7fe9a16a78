"""One run of a call at a replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from motet.core.closing import close, closing
from motet.core.errors import MotetError, Reason
from motet.core.logs.log_fields import add_field
from motet.core.tracing.names import ATTEMPT, REPLICA
from motet.core.tracing.span import NO_SPAN, Attributes, Span, SpanKind, current_span, end_span, start_span, within_span
from orchestrator.pool.queued_call import QueuedCall

if TYPE_CHECKING:
    from orchestrator.pool.replica import Replica

Worker = TypeVar("Worker")
Item = TypeVar("Item")


_SPAN = "attempt"
"""The name of the span of an attempt."""


class Receiver(Protocol[Item]):
    """The receiver of a call's items. It checks them, because workers are not trusted."""

    complete: bool
    """True once an item completed the call."""

    def restart(self) -> None:
        """Prepare for the first item of an attempt."""
        ...

    def receive(self, item: Item) -> Item | None:
        """Return the item for the caller, or None if the caller has it. Raise `MotetError` for an invalid item."""
        ...


class Attempt(Generic[Worker]):
    """The run of a call at one replica. `end` ends it from outside, also while its reader waits for an item."""

    def __init__(self, call: QueuedCall, replica: Replica[Worker], now: float) -> None:
        self.call = call
        self.replica = replica
        self.started = now
        self.count = 0
        """Number of items that were read."""
        self.reading_ahead: asyncio.Task[bool] | None = None
        """The task that reads a hedge, see `Hedges`."""
        self.counted = 0
        """The value of `count` when the silence was measured last."""
        self.silence = self.longest_silence = 0.0
        """Seconds since the latest item, and the longest such time, as measured at intervals."""
        self.reader: asyncio.Task[Any] | None = None
        """The task that waits for an item."""
        self.error: MotetError | None = None
        """The error of `end`."""
        self._items: AsyncIterator[Any] | None = None
        self._number = call.attempts + 1
        self._span: Span = NO_SPAN

    def open(self) -> AsyncIterator[Any]:
        """Return the worker's items, and start the worker at the first call.

        Set `reader` to the task that waits for an item, and to None when the item is there.
        """
        if self._items is None:
            if self.call.span is NO_SPAN:
                # A hedge is opened in a task of its own, and later.
                self.call.span = current_span()
            attributes: Attributes = {REPLICA: self.replica.name, ATTEMPT: self._number}
            self._span = start_span(_SPAN, SpanKind.CLIENT, parent=self.call.span, attributes=attributes)
            items = aiter(self.call.start(self.replica.worker))
            self._items = within_span(self._span, items) if self._span.recording else items
        return self._items

    def add_log_fields(self, begun: float, ordinal: int | None) -> None:
        """Add the replica, and the time that the call waited for it since `begun`, to the log line of the caller."""
        add_field("replica", self.replica.name)
        if ordinal is not None:
            add_field("ordinal", str(ordinal))
        add_field("attempts", str(self.call.attempts))
        if self.call.attempts == 1:
            add_field("queue_seconds", f"{max(0.0, self.started - begun):.6f}")

    def put_back(self, items: Sequence[Any]) -> None:
        """Make `open` return the first items, which were read, once more."""
        self._items = _chained(items, self.open())
        self.count = 0

    def was_ended(self) -> bool:
        """Return whether `end`, and nothing else, cancelled the current read. Call this once after a cancellation."""
        # As in `asyncio.timeout`, a cancellation by other code takes precedence.
        return self.error is not None and self.reader is not None and self.reader.uncancel() == 0

    def end(self, error: MotetError) -> None:
        """Set `error`, and cancel the reader if it waits. It then calls `was_ended`."""
        if self.error is None and (self.reader is None or not self.reader.cancelling()):
            self.error = error
            if self.reader is not None:
                self.reader.cancel()

    async def close(self) -> None:
        """Stop the worker."""
        self.reader = None
        if self._items is not None:
            await close(self._items)

    def record_end(self, error: MotetError | None, complete: bool) -> None:
        """Record the end. An attempt without an error that is not `complete` was stopped by its caller."""
        if error is None and not complete:
            self._span.fail(Reason.CANCELLED.value, is_fault=False)
        end_span(self._span, error)


async def _chained(first: Sequence[Item], rest: AsyncIterator[Item]) -> AsyncIterator[Item]:
    async with closing(rest):
        for item in first:
            yield item
        async for item in rest:
            yield item
