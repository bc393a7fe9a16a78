"""Media that are kept for a while, in memory: what was uploaded, and what was made."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256

from motet.core.errors import NotFoundError, Reason, RequestError
from motet.core.events import Artifact
from motet.core.media import Media

CHUNK = 256 * 1024
"""Bytes of one chunk, at most."""

INLINE = 1024 * 1024
"""Bytes up to which made media are sent along in the events; larger ones are downloaded."""


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An artifact and its bytes. The chunks are the very objects that the events hold, so each byte is held once."""

    artifact: Artifact
    chunks: tuple[bytes, ...]


class ArtifactStore:
    """Keeps media for `ttl` seconds, and `max_bytes` of them in all: the least recently used make room for new ones."""

    def __init__(self, ttl: float, max_bytes: int) -> None:
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, StoredArtifact] = OrderedDict()
        """By name, least recently used first."""
        self._expiries: deque[tuple[float, str]] = deque()
        self.size_bytes = 0

    async def keep(self, modality: str, media: Media) -> tuple[Artifact, tuple[bytes, ...]]:
        """Keep media for download; also gives their bytes in chunks, none where they are too large to be sent along.

        Raises `RequestError` for media that are larger than all artifacts together may be.
        """
        size = len(media.data)
        if size > self._max_bytes:
            raise RequestError(
                f"{size} bytes are more than the {self._max_bytes} that are kept here",
                Reason.INPUT_TOO_LARGE,
                {"size": str(size), "limit": str(self._max_bytes)},
            )
        digest = media.sha256 if size <= INLINE else await asyncio.to_thread(lambda: sha256(media.data).digest())
        name = f"artifacts/{secrets.token_hex(16)}"
        artifact = Artifact(name, modality, media.media_type, size, digest, time.time() + self._ttl)
        chunks = tuple(media.data[start : start + CHUNK] for start in range(0, size, CHUNK))
        self._make_room(size)
        self._kept[name] = StoredArtifact(artifact, chunks)
        self._expiries.append((artifact.expire_time, name))
        self.size_bytes += size
        return artifact, chunks if size <= INLINE else ()

    def find(self, name: str) -> StoredArtifact:
        """An artifact and its bytes. Raises `NotFoundError` for one that is not there, or no longer."""
        self._make_room(0)
        kept = self._kept.get(name)
        if kept is None:
            raise NotFoundError(
                f"{name} is not here: it expired, made room for others or never was; upload it again",
                Reason.ARTIFACT_NOT_FOUND,
                {"name": name},
            )
        self._kept.move_to_end(name)
        return kept

    async def download(self, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes from an offset, in chunks of at most 256 KiB. Raises `NotFoundError`."""
        for chunk in self.find(name).chunks:
            if offset < len(chunk):
                yield chunk[offset:]
            offset = max(0, offset - len(chunk))

    def delete(self, name: str) -> None:
        """Forget an artifact, if it is there."""
        kept = self._kept.pop(name, None)
        if kept is not None:
            self.size_bytes -= kept.artifact.size_bytes

    def _make_room(self, size: int) -> None:
        # All are kept for the same time, so they expire in the order in which they came.
        while self._expiries and self._expiries[0][0] <= time.time():
            self.delete(self._expiries.popleft()[1])
        while self.size_bytes + size > self._max_bytes:
            self.delete(next(iter(self._kept)))
