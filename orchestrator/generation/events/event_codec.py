"""The form of events and records as JSON, from which equal objects are restored in the same process.

Media, long text and errors stay as they are in a list of objects, and the JSON has their positions in that list.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from operator import attrgetter, index
from typing import Any

from motet.core.events import (
    Accepted,
    Artifact,
    CallSource,
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
    PlanInput,
    PlanNode,
    State,
    Usage,
    WorkerCall,
)

MAX_INLINE_TEXT = 1024
"""Maximum length of a text in JSON, in code points. Longer text would only be copied."""

_LEVEL = 1
"""The level of zlib: higher ones make these short texts hardly shorter."""

Row = list[Any]
"""An object as JSON: the values of its fields, in order. The row of an event begins with the kind and the time."""


@dataclass(frozen=True, slots=True)
class _Codec:
    """Two functions, from a value to JSON and back. The second argument of both is the list of objects."""

    pack: Callable[[Any, list[object]], Any]
    unpack: Callable[[Any, Sequence[object]], Any]


def _hold(value: object, objects: list[object]) -> int:
    objects.append(value)
    return len(objects) - 1


def _hold_if_large(value: str | bytes, objects: list[object]) -> str | int:
    return value if isinstance(value, str) and len(value) <= MAX_INLINE_TEXT else _hold(value, objects)


def _optional(codec: _Codec) -> _Codec:
    return _Codec(
        lambda value, objects: None if value is None else codec.pack(value, objects),
        lambda value, objects: None if value is None else codec.unpack(value, objects),
    )


def _several(codec: _Codec) -> _Codec:
    return _Codec(
        lambda values, objects: [codec.pack(value, objects) for value in values],
        lambda values, objects: tuple([codec.unpack(value, objects) for value in values]),
    )


def _member_of(kind: type[Enum]) -> _Codec:
    return _Codec(lambda member, objects: member.value, lambda value, objects: kind(value))


def _row_of(kind: Callable[..., Any], **nested: _Codec) -> _Codec:
    """Return the codec of a dataclass of several fields. `nested` has those of the fields that JSON cannot restore."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    codecs = [(names.index(name), codec) for name, codec in nested.items()]
    values_of = attrgetter(*names)

    def pack(value: object, objects: list[object]) -> Row:
        row = [*values_of(value)]
        for position, codec in codecs:
            row[position] = codec.pack(row[position], objects)
        return row

    def unpack(row: Row, objects: Sequence[object]) -> Any:
        values = [*row]
        for position, codec in codecs:
            values[position] = codec.unpack(values[position], objects)
        return kind(*values)

    return _Codec(pack, unpack)


_OBJECT = _Codec(_hold, lambda position, objects: objects[position])
_CHUNK = _Codec(_hold_if_large, lambda value, objects: value if isinstance(value, str) else objects[value])
_DIGEST = _Codec(lambda digest, objects: digest.hex(), lambda text, objects: bytes.fromhex(text))
_MAPPING = _Codec(lambda mapping, objects: dict(mapping), lambda mapping, objects: mapping)
_USAGE = _row_of(Usage)
_PART_DONE = _row_of(
    PartDone, sha256=_DIGEST, artifact=_optional(_row_of(Artifact, sha256=_DIGEST)), provenance=_MAPPING
)
_PART_FAILED = _row_of(PartFailed, error=_OBJECT)
_GENERATION = _row_of(
    Generation,
    state=_member_of(State),
    parts=_several(_PART_DONE),
    failures=_several(_PART_FAILED),
    usage=_USAGE,
    error=_optional(_OBJECT),
    calls=_several(_row_of(WorkerCall, source=_member_of(CallSource))),
)
_PAYLOADS: Mapping[type[Any], _Codec] = {
    Accepted: _row_of(Accepted),
    PlanGrown: _row_of(PlanGrown, nodes=_several(_row_of(PlanNode, inputs=_several(_row_of(PlanInput))))),
    PartStarted: _row_of(PartStarted),
    PartDelta: _row_of(PartDelta, chunk=_CHUNK),
    PartProgress: _row_of(PartProgress, preview=_optional(_OBJECT)),
    PartDone: _PART_DONE,
    PartFailed: _PART_FAILED,
    Usage: _USAGE,
}
_KINDS = tuple(_PAYLOADS)
_CODECS = tuple(_PAYLOADS.values())
_KIND_OF = {kind: position for position, kind in enumerate(_KINDS)}
_DONE, _PART_OF_RECORD = -1, -2
"""The kinds of the events that are in the record, too: `Done`, and `PartDone` with its position in the record."""

_to_json = json.JSONEncoder(separators=(",", ":"), default=index, check_circular=False).encode


def pack_events(events: Sequence[Event], objects: list[object], record: Generation | None = None) -> bytes:
    """Return events as compressed JSON, and append the objects that they need. What is in the record is left out.

    Integers of array libraries become plain ones. Raises `TypeError` for other types that JSON does not have.
    """
    positions = {id(part): position for position, part in enumerate(record.parts)} if record else {}
    rows = []
    for event in events:
        payload = event.payload
        if isinstance(payload, Done):
            rows.append([_DONE, event.time])
        elif (position := positions.get(id(payload))) is not None:
            rows.append([_PART_OF_RECORD, event.time, position])
        else:
            kind = _KIND_OF[type(payload)]
            rows.append([kind, event.time, *_CODECS[kind].pack(payload, objects)])
    return _compress(rows)


def unpack_events(data: bytes) -> list[Row]:
    """Return the rows of events."""
    return json.loads(zlib.decompress(data))  # type: ignore[no-any-return]


def event_of(row: Row, sequence: int, objects: Sequence[object], record: Callable[[], Generation]) -> Event:
    """Return the event of a row. `record` returns the record if the event is in it."""
    kind, time, *values = row
    payload: EventPayload
    if kind == _DONE:
        payload = Done(record())
    elif kind == _PART_OF_RECORD:
        payload = record().parts[values[0]]
    else:
        payload = _CODECS[kind].unpack(values, objects)
    return Event(sequence, time, payload)


def pack_record(record: Generation, objects: list[object]) -> bytes:
    """Return a record as compressed JSON, and append the objects that it needs. Raises `TypeError` as `pack_events`."""
    return _compress(_GENERATION.pack(record, objects))


def unpack_record(data: bytes, objects: Sequence[object]) -> Generation:
    """Return the record."""
    return _GENERATION.unpack(json.loads(zlib.decompress(data)), objects)  # type: ignore[no-any-return]


def _compress(rows: Row) -> bytes:
    return zlib.compress(_to_json(rows).encode("ascii"), _LEVEL)
