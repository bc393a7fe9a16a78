"""The events of a generation, kept so that any number of readers can read them from any position."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Callable

from motet.core.errors import NotFoundError, Reason
from motet.core.events import Done, Event, EventPayload, PartDelta, PartProgress, PlanGrown

_EVENT_BYTES = 192
"""Estimated size of an event without its text, media or preview, in bytes."""

_RESULT_BYTES = 1024
"""Estimated size of an event that describes a whole part, an error or the plan, in bytes."""

logger = logging.getLogger(__name__)


class EventLog:
    """The events of one generation, in order.

    Appending never waits for a reader, because a reader is a position and holds no copy. `observe` is called with each
    payload. An exception of `observe` goes to the log only. After `discard` no reader holds an event.
    """

    def __init__(self, observe: Callable[[EventPayload], None] = lambda payload: None) -> None:
        self._observe = observe
        self._events: list[Event] = []
        self._readers: list[asyncio.Future[None]] = []
        """The readers that wait for the next event."""
        self.size_bytes = 0
        """Estimated memory of the events, in bytes."""
        self._discarded = 0
        """The number of events that were discarded."""

    def __len__(self) -> int:
        """Return the number of events, which is the sequence number of the last event."""
        return len(self._events) + self._discarded

    @property
    def events(self) -> tuple[Event, ...]:
        """The events so far, without those that were discarded."""
        return tuple(self._events)

    @property
    def closed(self) -> bool:
        """True once `Done` was appended."""
        return bool(self._events) and isinstance(self._events[-1].payload, Done)

    def append(self, payload: EventPayload) -> None:
        """Append an event and wake the readers that wait for it."""
        self._events.append(Event(len(self._events) + 1, time.time(), payload))
        self.size_bytes += _size_of(payload)
        try:
            self._observe(payload)
        except Exception:
            logger.exception("an event could not be observed")
        readers, self._readers = self._readers, []
        for reader in readers:
            if not reader.done():
                reader.set_result(None)

    def discard(self) -> None:
        """Drop the events of a closed log. A reader that has not read all of them gets a `NotFoundError`."""
        self._discarded, self._events = len(self), []

    async def follow(self, after: int = 0) -> AsyncGenerator[Event, None]:
        """Yield every event after a sequence number: existing events at once, later ones as they come, up to `Done`.

        Raises `NotFoundError` if the events are discarded before they are read.
        """
        while True:
            while after < len(self._events):
                after += 1
                yield self._events[after - 1]
            if self.closed or (self._discarded and after == self._discarded):
                return
            if self._discarded:
                raise NotFoundError(
                    "the generation was removed before all of its events were read; read faster, or start it again",
                    Reason.GENERATION_NOT_FOUND,
                )
            self._readers.append(appended := asyncio.get_running_loop().create_future())
            await appended


def _size_of(payload: EventPayload) -> int:
    match payload:
        case PartDelta(chunk=chunk):
            return _EVENT_BYTES + sys.getsizeof(chunk)
        case PartProgress(preview=preview):
            return _EVENT_BYTES + (len(preview.data) if preview else 0)
        case PlanGrown(nodes):
            return _RESULT_BYTES + 8 * len(nodes)
    return _RESULT_BYTES
