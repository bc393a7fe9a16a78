"""An HTTP/2 client that sends what a gRPC client would not send."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_DATA, _HEADERS, _RST_STREAM, SETTINGS = 0, 1, 3, 4
_END_HEADERS, _END_STREAM = 0x4, 0x1
_CANCEL = struct.pack(">I", 8)

NO_WINDOW = struct.pack(">HI", 4, 0)
"""Settings of a peer that receives no data."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def call_headers(path: str) -> bytes:
    """Return the header block of a gRPC call, without compression."""
    fields = (":path", path), (":authority", "test"), ("content-type", "application/grpc"), ("te", "trailers")
    # 0x83 is ":method: POST", 0x86 ":scheme: http", and 0 begins a literal field.
    return b"\x83\x86" + b"".join(
        bytes([0, len(name), *name.encode(), len(value), *value.encode()]) for name, value in fields
    )


def call(stream: int, path: str) -> bytes:
    """Return the frames of a call with an empty request."""
    return frame(_HEADERS, _END_HEADERS, stream, call_headers(path)) + frame(_DATA, _END_STREAM, stream, bytes(5))


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
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
    try:
        yield writer
    finally:
        reading.cancel()
        writer.close()
