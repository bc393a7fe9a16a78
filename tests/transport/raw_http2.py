"""An HTTP/2 client that sends what a gRPC client would not send."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from hpack import Decoder, Encoder, NeverIndexedHeaderTuple

_DATA, _HEADERS, _RST_STREAM, SETTINGS, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 7, 9
_END_HEADERS, _END_STREAM = 0x4, 0x1
_CANCEL = struct.pack(">I", 8)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_MAX_FRAME_BYTES = 16_384

Fields = Sequence[tuple[bytes, bytes]]
"""Fields of a request, with the pseudo fields first."""

NO_WINDOW = struct.pack(">HI", 4, 0)
"""Settings of a peer that receives no data."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def call_fields(path: str) -> Fields:
    """Return the fields of a gRPC call."""
    return (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b":authority", b"test"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )


def headers(stream: int, fields: Fields) -> bytes:
    """Return the frames of fields of any bytes. The connection's table of fields stays empty."""
    block = Encoder().encode([NeverIndexedHeaderTuple(name, value) for name, value in fields], huffman=False)
    pieces = [block[start : start + _MAX_FRAME_BYTES] for start in range(0, len(block), _MAX_FRAME_BYTES)]
    kinds = [_HEADERS, *[_CONTINUATION] * (len(pieces) - 1)]
    flags = [*[0] * (len(pieces) - 1), _END_HEADERS]
    return b"".join(map(frame, kinds, flags, [stream] * len(pieces), pieces))


def call(stream: int, path: str, message: bytes = b"") -> bytes:
    """Return the frames of a call with one request."""
    body = b"\0" + struct.pack(">I", len(message)) + message
    return headers(stream, call_fields(path)) + frame(_DATA, _END_STREAM, stream, body)


def unread_calls(path: str, message: bytes = b"", calls: int = 1) -> bytes:
    """Return the frames of a client that calls a method and reads no response."""
    frames = (call(2 * number + 1, path, message) for number in range(calls))
    return frame(SETTINGS, 0, 0, NO_WINDOW) + b"".join(frames)


def reset_call(stream: int, path: str) -> bytes:
    """Return the frames of a call with an empty request, and of its immediate cancellation."""
    return call(stream, path) + frame(_RST_STREAM, 0, stream, _CANCEL)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[asyncio.StreamWriter]:
    """Yield an open connection. All bytes from the server are read and dropped."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    async def read() -> None:
        with suppress(OSError):
            while await reader.read(2**16):
                pass

    reading = asyncio.create_task(read())
    writer.write(PREFACE + frame(SETTINGS, 0, 0))
    try:
        yield writer
    finally:
        reading.cancel()
        writer.close()


@dataclass
class Response:
    """The response to a call: its fields and trailers, or the end of the stream or of the connection without them."""

    fields: dict[bytes, bytes] = field(default_factory=dict)
    refused: bool = False
    """True if the server reset the stream or closed the connection, as HTTP/2 demands for malformed requests."""

    @property
    def code(self) -> int | None:
        """The number of the gRPC status, or None without one."""
        return int(self.fields[b"grpc-status"]) if b"grpc-status" in self.fields else None


async def respond(address: str, fields: Fields, message: bytes = b"") -> Response:
    """Send a call with any fields over a new connection, and return the response. Raise `TimeoutError` after 30 s."""
    host, _, port = address.rpartition(":")
    body = b"\0" + struct.pack(">I", len(message)) + message
    async with asyncio.timeout(90):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(PREFACE + frame(SETTINGS, 0, 0) + headers(1, fields) + frame(_DATA, _END_STREAM, 1, body))
        try:
            return await _read_response(reader)
        finally:
            writer.close()


async def _read_response(reader: asyncio.StreamReader) -> Response:
    response, decoder, block = Response(), Decoder(), b""
    while True:
        try:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        except (asyncio.IncompleteReadError, OSError):
            response.refused = True
            return response
        kind, flags = head[3], head[4]
        if kind in (_RST_STREAM, _GOAWAY) and b"grpc-status" not in response.fields:
            response.refused = True
            return response
        if kind in (_HEADERS, _CONTINUATION):
            block += payload
            if flags & _END_HEADERS:
                response.fields |= {bytes(name): bytes(value) for name, value in decoder.decode(block, raw=True)}
                block = b""
                if b"grpc-status" in response.fields:
                    return response
        if kind in (_HEADERS, _DATA) and flags & _END_STREAM:
            return response
