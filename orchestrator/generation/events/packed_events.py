"""Events in few objects and bytes, in blocks that are unpacked when they are read."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice

from motet.core.errors import MotetError, chain_of
from motet.core.events import Event, Generation
from motet.core.media import Media
from orchestrator.generation.events.event_codec import event_of, pack_events, pack_record, unpack_events, unpack_record

BLOCK = 64
"""Number of events of a block. A block is packed or unpacked in about a millisecond, however many events there are."""

_ERROR_BYTES = 1024
"""Estimated memory of an error without its causes, in bytes."""


class PackedEvents:
    """The first events of a generation, and finally all of them with the record.

    All blocks but the last have `BLOCK` events. Media, long text and errors are kept as they are and never copied.
    """

    __slots__ = ("_blocks", "_count", "_objects", "_record", "_record_objects")

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._count = 0
        self._objects: list[object] = []
        """The objects of the events."""
        self._record: bytes | None = None
        self._record_objects: list[object] = []

    def __len__(self) -> int:
        """Return the number of events."""
        return self._count

    @property
    def size_bytes(self) -> int:
        """Memory of the events and of the record, in bytes."""
        held = {id(each): each for each in (*self._objects, *self._record_objects)}
        return sum(map(sys.getsizeof, (*self._blocks, self._record or b""))) + sum(map(_size_of, held.values()))

    @property
    def closed(self) -> bool:
        """True once the last events were added."""
        return self._record is not None

    @property
    def record(self) -> Generation | None:
        """The generation's record, or None before its end."""
        return None if self._record is None else unpack_record(self._record, self._record_objects)

    def add(self, block: Sequence[Event]) -> None:
        """Add `BLOCK` events. Raises `TypeError` for a value that JSON does not have."""
        self._blocks.append(pack_events(block, self._objects))
        self._count += len(block)

    def close(self, events: Sequence[Event], record: Generation) -> None:
        """Add the last events, and the record. Raises `TypeError` for a value that JSON does not have."""
        packed = pack_record(record, self._record_objects)
        starts = range(0, len(events), BLOCK)
        self._blocks += [pack_events(events[start : start + BLOCK], self._objects, record) for start in starts]
        self._count += len(events)
        self._record = packed

    def discard(self) -> None:
        """Drop the events, but not the record."""
        self._blocks, self._objects, self._count = [], [], 0

    def read(self, after: int) -> Iterator[Event]:
        """Yield the events after a sequence number, up to the end of their block."""
        rows = unpack_events(self._blocks[after // BLOCK])
        record = cache(self._kept_record)
        for sequence, row in enumerate(islice(rows, after % BLOCK, None), after + 1):
            yield event_of(row, sequence, self._objects, record)

    def _kept_record(self) -> Generation:
        record = self.record
        assert record is not None
        return record


def _size_of(held: object) -> int:
    """Return the memory of an object: a chunk of media or of text, a preview or an error."""
    if isinstance(held, Media):
        return sys.getsizeof(held) + sys.getsizeof(held.data)
    if isinstance(held, MotetError):
        return _ERROR_BYTES * sum(1 for _ in chain_of(held))
    return sys.getsizeof(held)
