"""The number of fields in an encoded message, counted before the message is parsed.

A message of 4 MiB can hold two million empty turns. Parsing it would take 0.2 s and 100 MB, and stop all other calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

MAX_FIELDS = 16_384
"""Maximum number of fields of a message, those of nested messages included. The largest valid message has less."""

_MIN_COUNTED = 2 * MAX_FIELDS
"""Size from which the fields of a message are counted, in bytes. Each field has two bytes or more."""

_FIXED_SIZES = {1: 8, 5: 4}
"""The sizes of the wire types of fixed size, in bytes."""

_Kinds = Mapping[int, Any]
"""The descriptor of the message in each field that holds messages, by the number of the field."""


def has_too_many_fields(data: bytes, kind: Any) -> bool:
    """Return whether an encoded message of the descriptor `kind` has more than `MAX_FIELDS` fields.

    Bytes that are no message are left to the parser.
    """
    if len(data) < _MIN_COUNTED:
        return False
    try:
        return _exceeds(data, _kinds_of(kind), MAX_FIELDS)
    except IndexError:
        return False


def _exceeds(data: bytes, kinds: _Kinds, limit: int) -> bool:
    position, end = 0, len(data)
    parents: list[tuple[int, _Kinds]] = []
    for _ in range(limit):
        while position >= end:
            if not parents:
                return False
            end, kinds = parents.pop()
        tag = data[position]
        position += 1
        if tag >= 0x80:
            tag, position = _varint(data, position - 1)
        wire_type = tag & 7
        if wire_type == 2:
            size = data[position]
            position += 1
            if size >= 0x80:
                size, position = _varint(data, position - 1)
            inner = kinds.get(tag >> 3)
            if inner is None:
                position += size
            else:
                parents.append((end, kinds))
                end, kinds = position + size, _kinds_of(inner)
        elif wire_type == 0:
            _, position = _varint(data, position)
        else:
            position += _FIXED_SIZES.get(wire_type, 0)
    return True


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it."""
    value = data[position]
    position += 1
    if value < 0x80:
        return value, position
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return value, position


@cache
def _kinds_of(kind: Any) -> _Kinds:
    return {field.number: field.message_type for field in kind.fields if field.message_type is not None}
