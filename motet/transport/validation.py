"""Messages against the rules of their protos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import protovalidate
from google.protobuf.message import DecodeError, Message

from motet.core.errors import RequestError
from motet.transport.status import MessageError


class Malformed:
    """Stands for bytes that are no message, until `validate` says so."""


def lenient(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """A parser that answers `Malformed` rather than raise: gRPC would tell its exception as the server's fault."""

    def parsed(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError:
            return Malformed()

    return parsed


def validate(message: Message | Malformed) -> None:
    """Raises `MessageError`, naming each field that breaks a rule of its proto and what it must be."""
    if isinstance(message, Malformed):
        raise RequestError("the bytes of the request are not the message that this call takes")
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
