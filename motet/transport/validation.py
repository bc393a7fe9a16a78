"""Validation of messages against the rules in their protos. The cheapest checks come first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import protovalidate
from google.protobuf.message import DecodeError, Message

from motet.core.errors import Reason, RequestError
from motet.transport.convert.wire_fields import MAX_FIELDS, has_too_many_fields
from motet.transport.status import MessageError

_FULL_REPORT_BYTES = 1024
"""Maximum size of a message whose violations are all reported, in bytes. A larger message gets the first one only.

Finding all violations takes up to 0.1 ms per byte and 1 KB of memory each. Finding the first one is fast.
"""

_MAX_VIOLATIONS = 8
"""Maximum number of violations in an error."""

_REASON_OF_RULE = {
    "repeated.max_items": Reason.LIMIT_EXCEEDED,
    "map.max_pairs": Reason.LIMIT_EXCEEDED,
    "string.max_len": Reason.LIMIT_EXCEEDED,
    "string.max_bytes": Reason.INPUT_TOO_LARGE,
    "bytes.max_len": Reason.INPUT_TOO_LARGE,
}
"""The reasons of rules that the orchestrator checks, too. An embedded orchestrator reports the same reasons."""


def parse(kind: type[Message], data: bytes) -> Message:
    """Return the message of a class. Raises `RequestError`, also for too many fields, which are not parsed."""
    if has_too_many_fields(data, kind.DESCRIPTOR):
        raise RequestError(
            f"the request has more than {MAX_FIELDS} fields; send fewer turns, parts or options",
            Reason.LIMIT_EXCEEDED,
            {"limit": str(MAX_FIELDS)},
        )
    try:
        return kind.FromString(data)
    except DecodeError:
        message = "the bytes of the request cannot be decoded as the message that this method takes"
        raise RequestError(message) from None


def validate(message: Message) -> None:
    """Check a message. Raises `MessageError`, naming fields that break a rule of their proto, and the rule."""
    violations = protovalidate.collect_violations(message, fail_fast=True)
    if violations:
        if message.ByteSize() <= _FULL_REPORT_BYTES:
            violations = protovalidate.collect_violations(message)
        raise _error_of(violations[:_MAX_VIOLATIONS])


def _error_of(violations: Sequence[protovalidate.Violation]) -> MessageError:
    broken = tuple((_path(violation.proto.field), violation.proto.message) for violation in violations)
    reasons = {_REASON_OF_RULE.get(violation.proto.rule_id, Reason.INVALID_REQUEST) for violation in violations}
    text = "; ".join(f"{field or 'the message'} {rule}" for field, rule in broken)
    reason = reasons.pop() if len(reasons) == 1 else Reason.INVALID_REQUEST
    return MessageError(f"the request breaks its contract: {text}", broken, reason)


def _path(field: Any) -> str:
    """Return a field's path in the usual notation, such as `turns[0].parts[1].text`."""
    return ".".join(
        element.field_name + (f"[{element.subscript.value}]" if element.subscript else "")
        for element in (field.elements if field else ())
    )
