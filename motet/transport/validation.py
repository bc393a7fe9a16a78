"""Messages against the rules of their protos."""

from __future__ import annotations

from typing import Any

import protovalidate
from google.protobuf.message import Message

from motet.transport.status import MessageError


def validate(message: Message) -> None:
    """Raises `MessageError`, naming each field that breaks a rule of its proto and what it must be."""
    try:
        protovalidate.validate(message)
    except protovalidate.ValidationError as error:
        violations = tuple((_path(violation.proto.field), violation.proto.message) for violation in error.violations)
        text = "; ".join(f"{field or 'the message'} {rule}" for field, rule in violations)
        raise MessageError(f"the request breaks its contract: {text}", violations) from None


def _path(field: Any) -> str:
    """A field as people write it: `turns[0].parts[1].text`."""
    return ".".join(
        element.field_name + (f"[{element.subscript.value}]" if element.subscript else "")
        for element in (field.elements if field else ())
    )
