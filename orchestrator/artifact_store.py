"""Artifacts, kept in memory for a limited time: uploaded media and results of decoders."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from motet.caching.lru import LruCache, max_entries_of
from motet.core.errors import NotFoundError, Reason, RequestError
from motet.core.events import Artifact
from motet.core.media import MAX_INLINE_BYTES, Media, chunks
from motet.core.request import ARTIFACTS, MAX_INT64, check_name, check_range


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An artifact and its bytes. Events hold the same chunk objects, so each byte is in memory once."""

    artifact: Artifact
    chunks: tuple[bytes, ...]


class ArtifactStore:
    """Keeps artifacts for `ttl` seconds, at most `max_bytes` in all. The least recently used are removed first."""

    def __init__(self, ttl: float, max_bytes: int) -> None:
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._artifacts: LruCache[str, StoredArtifact] = LruCache(max_bytes, max_entries_of(max_bytes))
        self._expiries: OrderedDict[str, float] = OrderedDict()
        """Expiry time of each artifact by name, in order of time."""

    @property
    def size_bytes(self) -> int:
        """The total size of the stored media, in bytes."""
        return self._artifacts.size

    async def keep(self, modality: str, media: Media) -> tuple[Artifact, tuple[bytes, ...]]:
        """Store media. Return the artifact, and its bytes in chunks unless they are larger than `MAX_INLINE_BYTES`.

        Raises `RequestError` for media larger than the whole store.
        """
        size = len(media.data)
        if size > self._max_bytes:
            raise RequestError(
                f"the media have {size} bytes, more than the artifact store's {self._max_bytes}; send less",
                Reason.INPUT_TOO_LARGE,
                {"size": str(size), "limit": str(self._max_bytes)},
            )
        inline = size <= MAX_INLINE_BYTES
        digest, data_chunks = _prepared(media) if inline else await asyncio.to_thread(_prepared, media)
        name = f"{ARTIFACTS}/{secrets.token_hex(16)}"
        artifact = Artifact(name, modality, media.media_type, size, digest, time.time() + self._ttl)
        self._remove_expired()
        self._expiries[name] = artifact.expire_time
        for evicted in self._artifacts.put(name, StoredArtifact(artifact, data_chunks), size):
            del self._expiries[evicted.artifact.name]
        return artifact, data_chunks if inline else ()

    def find(self, name: str) -> StoredArtifact:
        """Return an artifact and its bytes. Raises `NotFoundError` if it does not exist or has expired.

        Raises `RequestError` for a text that is no artifact's name.
        """
        check_name(ARTIFACTS, name)
        self._remove_expired()
        stored = self._artifacts.get(name)
        if stored is None:
            raise NotFoundError(
                f"{name} does not exist: it expired, was removed or never existed; upload it again",
                Reason.ARTIFACT_NOT_FOUND,
                {"name": name},
            )
        return stored

    async def download(self, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Yield the bytes from an offset in chunks of at most `CHUNK_BYTES` bytes.

        Raises `NotFoundError`, and `RequestError` for a negative offset.
        """
        check_range("offset", offset, 0, MAX_INT64)
        for chunk in self.find(name).chunks:
            if offset < len(chunk):
                yield chunk[offset:]
            offset = max(0, offset - len(chunk))

    def delete(self, name: str) -> None:
        """Remove an artifact, if it exists. Raises `RequestError` for a text that is no artifact's name."""
        check_name(ARTIFACTS, name)
        self._artifacts.pop(name)
        self._expiries.pop(name, None)

    def _remove_expired(self) -> None:
        # All artifacts are kept for the same time, so they expire in order of arrival.
        while self._expiries:
            name, expiry = next(iter(self._expiries.items()))
            if expiry > time.time():
                return
            self.delete(name)


def _prepared(media: Media) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the digest of media, and their bytes in chunks."""
    return media.sha256, tuple(chunks(media.data))
