"""Media that arrive in chunks are copied and hashed once, as they arrive."""

from __future__ import annotations

import tracemalloc
from hashlib import sha256

import pytest

from motet.core.errors import FaultError
from motet.core.media import CHUNK_BYTES, MEBI, joined
from motet.internal.v1.decoder_service_pb2 import DecodeRequest
from motet.transport.incoming_media import IncomingMedia

CHUNK = bytes(range(256)) * (CHUNK_BYTES // 256)
DATA = CHUNK * 32


def arrived(data: bytes, digest: bytes) -> IncomingMedia:
    media = IncomingMedia("the peer", 32 * MEBI)
    media.start(DecodeRequest.Input(media_type="x/a", data=data[:1], size_bytes=len(data), sha256=digest))
    for start in range(1, len(data), CHUNK_BYTES):
        media.add(data[start : start + CHUNK_BYTES])
    return media


def test_complete_media_are_neither_copied_nor_hashed_again() -> None:
    tracemalloc.start()
    incoming = arrived(DATA, digest := sha256(DATA).digest())
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    media = incoming.checked()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert media.data == DATA
    assert media._sha256 == digest
    assert peak - before < MEBI


def test_altered_and_incomplete_media_are_errors() -> None:
    with pytest.raises(FaultError, match="the peer arrived incomplete or altered"):
        arrived(DATA, sha256(b"other").digest()).checked()
    incomplete = IncomingMedia("the peer", 32 * MEBI)
    incomplete.start(DecodeRequest.Input(data=b"a", size_bytes=2, sha256=sha256(b"a").digest()))
    with pytest.raises(FaultError, match="the peer arrived incomplete or altered"):
        incomplete.checked()


async def test_joined_parts_are_all_bytes_in_order() -> None:
    assert await joined([]) == b""
    assert await joined([b"a", b"", b"bc"]) == b"abc"
    assert await joined([CHUNK] * 32) == DATA
