"""Validation of messages against the rules in their protos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import protovalidate
from google.protobuf.message import DecodeError, Message

from motet.core.errors import RequestError
from motet.transport.status import MessageError


class Undecodable:
    """A placeholder for bytes that cannot be decoded as the expected message."""


def lenient(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return a parser that returns `Undecodable` instead of raising: gRPC would report the error as a server fault."""

    def parsed(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError:
            return Undecodable()

    return parsed


def validate(message: Message | Undecodable) -> None:
    """Check a message. Raises `MessageError`, naming each field that breaks a rule of its proto, and the rule."""
    if isinstance(message, Undecodable):
        raise RequestError("the bytes of the request cannot be decoded as the message that this method takes")
    try:
        protovalidate.validate(message)
    except protovalidate.ValidationError as error:
        violations = tuple((_path(violation.proto.field), violation.proto.message) for violation in error.violations)
        text = "; ".join(f"{field or 'the message'} {rule}" for field, rule in violations)
        raise MessageError(f"the request breaks its contract: {text}", violations) from None


def _path(field: Any) -> str:
    """Return a field's path in the usual notation, such as `turns[0].parts[1].text`."""
    return ".".join(
        element.field_name + (f"[{element.subscript.value}]" if element.subscript else "")
        for element in (field.elements if field else ())
    )
