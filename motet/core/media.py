"""One encoded media file in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Self

MEBI = 1024 * 1024

MAX_MEDIA_BYTES = 32 * MEBI
"""Default maximum size of one media file, in bytes."""

MAX_INLINE_BYTES = MEBI
"""Maximum size of media inside a request or an event, in bytes. Larger media are artifacts."""

CHUNK_BYTES = 256 * 1024
"""Maximum size of a chunk of media, in bytes. It is the fastest size measured, and a stalled reader holds little."""


@dataclass(frozen=True, slots=True)
class Media:
    """An encoded media file and its type.

    `media_type` is an IANA media type (RFC 6838). "" means unknown: the type is then detected from the bytes.
    """

    media_type: str
    data: bytes
    _sha256: bytes = field(default=b"", init=False, repr=False, compare=False)
    """The digest, b"" before its first use."""

    @classmethod
    def from_path(cls, path: str | Path) -> Self:
        """Return the media in a file. The server detects the type from the bytes. Raise `OSError`."""
        return cls("", Path(path).read_bytes())

    @classmethod
    def with_digest(cls, media_type: str, data: bytes, digest: bytes) -> Self:
        """Return media whose SHA-256 digest is known, so that it is not computed again."""
        media = cls(media_type, data)
        object.__setattr__(media, "_sha256", digest)
        return media

    @property
    def sha256(self) -> bytes:
        """The SHA-256 digest of the bytes, 32 bytes long. The same prompt and seed reproduce the same digest."""
        if not self._sha256:
            object.__setattr__(self, "_sha256", sha256(self.data).digest())
        return self._sha256

    def with_type(self, media_type: str) -> Media:
        """Return the same bytes under another media type, with the digest if it is known."""
        return Media.with_digest(media_type, self.data, self._sha256)


async def sha256_of(media: Media) -> bytes:
    """Return the digest. A thread computes it for large media, because that takes longer than a switch of threads."""
    if len(media.data) <= MAX_INLINE_BYTES:
        return media.sha256
    return await asyncio.to_thread(lambda: media.sha256)


async def joined(parts: Sequence[bytes]) -> bytes:
    """Return the bytes of all parts. A thread joins large media."""
    if sum(map(len, parts)) <= MAX_INLINE_BYTES:
        return b"".join(parts)
    return await asyncio.to_thread(_join_large, parts)


def _join_large(parts: Sequence[bytes]) -> bytes:
    # Other threads run between two parts. `b"".join` would let none of them run, for 32 MiB 0.1 seconds if the system
    # must first find the memory.
    buffer = BytesIO()
    for part in parts:
        buffer.write(part)
    return buffer.getvalue()


def chunks(data: bytes) -> Iterator[bytes]:
    """Yield the data in chunks of at most `CHUNK_BYTES` bytes; nothing for empty data."""
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]
