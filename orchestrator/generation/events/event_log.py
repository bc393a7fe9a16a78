"""The events of a generation, kept so that any number of readers can read them from any position."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator

from motet.core.errors import NotFoundError, Reason
from motet.core.events import (
    Done,
    Event,
    EventPayload,
    Generation,
    PartDelta,
    PartDone,
    PartFailed,
    PartProgress,
    PartStarted,
    PlanGrown,
)
from orchestrator.generation.events.packed_events import BLOCK, PackedEvents

_EVENT_BYTES = 192
"""Estimated size of an event without its text, media or preview, in bytes."""

_RESULT_BYTES = 1024
"""Estimated size of an event that describes a whole part, an error or the plan, in bytes."""

_LATEST = 2 * BLOCK
"""Maximum number of events that are kept as objects. A reader in time reads these, so it unpacks none."""

logger = logging.getLogger(__name__)


def _ignore(payload: EventPayload) -> None:
    """Do nothing with a payload."""


class EventLog:
    """The events of one generation, in order.

    Appending never waits for a reader, because a reader is a position and holds no event. `observe` is called with each
    payload. An exception of `observe` goes to the log only. The latest events are objects. Earlier events, and after
    `pack` all of them, take few bytes, and are unpacked for each reader. After `discard` no reader holds an event.
    """

    __slots__ = ("_discarded", "_latest", "_observe", "_packed", "_readers", "_record", "part_events", "size_bytes")

    def __init__(self, observe: Callable[[EventPayload], None] = _ignore) -> None:
        self._observe = observe
        self._packed = PackedEvents()
        self._latest: list[Event] = []
        self._readers: list[asyncio.Future[None]] = []
        """The readers that wait for the next event."""
        self._record: Generation | None = None
        """The record of `Done`, until `pack`."""
        self._discarded = 0
        """The number of events that were discarded."""
        self.part_events: list[Event] = []
        """The events at which parts start and end, until `pack`."""
        self.size_bytes = 0
        """Estimated memory of all events as objects, in bytes."""

    def __len__(self) -> int:
        """Return the number of events, which is the sequence number of the last event."""
        return len(self._packed) + len(self._latest) + self._discarded

    @property
    def closed(self) -> bool:
        """True once `Done` was appended."""
        return self._record is not None or self._packed.closed

    @property
    def record(self) -> Generation | None:
        """The record in `Done`, or None before `Done`."""
        return self._record or self._packed.record

    @property
    def stored_bytes(self) -> int:
        """Memory of the events as they are now, in bytes. Those that are objects count as all events as objects."""
        return self._packed.size_bytes + (self.size_bytes if self._latest else 0)

    def append(self, payload: EventPayload) -> None:
        """Append an event and wake the readers that wait for it."""
        event = Event(len(self) + 1, time.time(), payload)
        self._latest.append(event)
        self.size_bytes += _size_of(payload)
        if isinstance(payload, PartStarted | PartDone | PartFailed):
            self.part_events.append(event)
        elif isinstance(payload, Done):
            self._record = payload.generation
        if len(self._latest) == _LATEST:
            self._pack_block()
        try:
            self._observe(payload)
        except Exception:
            logger.exception("an event could not be observed")
        readers, self._readers = self._readers, []
        for reader in readers:
            if not reader.done():
                reader.set_result(None)

    def pack(self) -> None:
        """Reduce the memory of a log that is closed. If an event cannot be packed, its log keeps its size."""
        self._observe, self.part_events = _ignore, []
        if self._record is None:
            return
        try:
            self._packed.close(self._latest, self._record)
        except Exception:
            logger.exception("the events of a generation could not be packed, and take more memory")
        else:
            self._record, self._latest = None, []

    def discard(self) -> None:
        """Drop the events of a closed log, but not the record. A reader that has not read all of them gets an error."""
        self._discarded = len(self)
        self._packed.discard()
        self._latest = []

    async def follow(self, after: int = 0) -> AsyncGenerator[Event, None]:
        """Yield every event after a sequence number: existing events at once, later ones as they come, up to `Done`.

        Raises `NotFoundError` if the events are discarded before they are read.
        """
        while True:
            while after < len(self) and not self._discarded:
                for event in self._read(after):
                    after += 1
                    yield event
                    if self._discarded:
                        break
            if self.closed and after == len(self):
                return
            if self._discarded:
                raise NotFoundError(
                    "the generation was removed before all of its events were read; read faster, or start it again",
                    Reason.GENERATION_NOT_FOUND,
                )
            self._readers.append(appended := asyncio.get_running_loop().create_future())
            await appended

    def _read(self, after: int) -> Iterator[Event]:
        """Return at least one event after a sequence number that is not the last one."""
        if after < len(self._packed):
            return self._packed.read(after)
        return iter((self._latest[after - len(self._packed)],))

    def _pack_block(self) -> None:
        try:
            self._packed.add(self._latest[:BLOCK])
        except Exception:
            logger.exception("events of a generation could not be packed, and take more memory")
        else:
            del self._latest[:BLOCK]


def _size_of(payload: EventPayload) -> int:
    match payload:
        case PartDelta(chunk=chunk):
            return _EVENT_BYTES + sys.getsizeof(chunk)
        case PartProgress(preview=preview):
            return _EVENT_BYTES + (len(preview.data) if preview else 0)
        case PlanGrown(nodes):
            return _RESULT_BYTES + 8 * len(nodes)
    return _RESULT_BYTES
