"""The parsing of requests in turns, so that large ones do not hold the event loop together."""

from __future__ import annotations

import asyncio

from google.protobuf.message import Message

from motet.transport.validation import parse, validate

_LARGE_BYTES = 8 * 1024
"""Size above which requests are parsed one at a time, in bytes."""


class RequestParser:
    """Parses and validates requests. An iteration of the event loop parses at most one large request."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def parse(self, kind: type[Message], data: bytes) -> Message:
        """Return the message of a class. Raises `RequestError` for a wrong one, see `parse` and `validate`."""
        if len(data) > _LARGE_BYTES:
            async with self._turn:
                await asyncio.sleep(0)
                return _valid(kind, data)
        return _valid(kind, data)


def _valid(kind: type[Message], data: bytes) -> Message:
    message = parse(kind, data)
    validate(message)
    return message
