"""What happened in a generation, kept so that anyone can read it from any point."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

from motet.core.events import Done, Event, EventPayload, PartDelta, PartProgress


class EventLog:
    """The events of one generation, in order.

    Writing never waits for a reader: a reader is a position, and holds no copy. `observe` is called with each event.
    """

    def __init__(self, observe: Callable[[EventPayload], None] = lambda what: None) -> None:
        self._observe = observe
        self._events: list[Event] = []
        self._waiting: list[asyncio.Future[None]] = []
        self.size_bytes = 0
        """Bytes of the text, media and previews in it."""

    def __len__(self) -> int:
        """Also the sequence of the last event."""
        return len(self._events)

    @property
    def closed(self) -> bool:
        """Whether `Done` was written."""
        return bool(self._events) and isinstance(self._events[-1].payload, Done)

    def append(self, what: EventPayload) -> None:
        """Write the next event and wake whoever waits for it."""
        self._events.append(Event(len(self._events) + 1, time.time(), what))
        self.size_bytes += _size_of(what)
        self._observe(what)
        waiting, self._waiting = self._waiting, []
        for reader in waiting:
            if not reader.done():
                reader.set_result(None)

    async def follow(self, after: int = 0) -> AsyncGenerator[Event, None]:
        """Every event after a sequence: those of the past at once, those to come as they come, up to `Done`."""
        while True:
            while after < len(self._events):
                after += 1
                yield self._events[after - 1]
            if self.closed:
                return
            self._waiting.append(grown := asyncio.get_running_loop().create_future())
            await grown


def _size_of(what: EventPayload) -> int:
    match what:
        case PartDelta(chunk=chunk):
            return len(chunk)
        case PartProgress(preview=preview) if preview:
            return len(preview.data)
    return 0
