"""Artifacts, kept in memory for a limited time: uploaded media and results of decoders."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from motet.caching.lru import LruCache, max_entries_of
from motet.core.errors import NotFoundError, Reason, RequestError
from motet.core.events import Artifact
from motet.core.media import MAX_INLINE_BYTES, Media, chunks
from motet.core.request import ARTIFACTS, MAX_INT64, check_name, check_range


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An artifact, its bytes and its tenant. Events hold the same chunk objects, so each byte is in memory once."""

    artifact: Artifact
    chunks: tuple[bytes, ...]
    tenant: str


_Key = tuple[str, str]
"""The tenant and the name of an artifact."""


class ArtifactStore:
    """Keeps artifacts for `ttl` seconds, at most `max_bytes` in all. Tenants share them as the owners of an `LruCache`.

    An artifact belongs to the tenant that stored it. Every access goes through `of`, which names the tenant.
    """

    def __init__(self, ttl: float, max_bytes: int) -> None:
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._artifacts: LruCache[_Key, StoredArtifact] = LruCache(max_bytes, max_entries_of(max_bytes))
        self._expiries: OrderedDict[_Key, float] = OrderedDict()
        """Expiry time of each artifact, in order of time."""

    @property
    def size_bytes(self) -> int:
        """The total size of the stored media of all tenants, in bytes."""
        return self._artifacts.size

    def _size_of(self, tenant: str) -> int:
        self._remove_expired()
        return self._artifacts.size_of(tenant)

    def of(self, tenant: str) -> TenantArtifacts:
        """Return the artifacts of a tenant."""
        return TenantArtifacts(self, tenant)

    async def _keep(
        self, tenant: str, modality: str, media: Media, check: Callable[[], None]
    ) -> tuple[Artifact, tuple[bytes, ...]]:
        size = len(media.data)
        if size > self._max_bytes:
            raise RequestError(
                f"the media have {size} bytes, more than the artifact store's {self._max_bytes}; send less",
                Reason.INPUT_TOO_LARGE,
                {"size": str(size), "limit": str(self._max_bytes)},
            )
        inline = size <= MAX_INLINE_BYTES
        digest, data_chunks = _prepared(media) if inline else await asyncio.to_thread(_prepared, media)
        # Other media may have been stored in the meantime.
        check()
        name = f"{ARTIFACTS}/{secrets.token_hex(16)}"
        artifact = Artifact(name, modality, media.media_type, size, digest, time.time() + self._ttl)
        self._remove_expired()
        self._expiries[tenant, name] = artifact.expire_time
        stored = StoredArtifact(artifact, data_chunks, tenant)
        for evicted in self._artifacts.put((tenant, name), stored, size, owner=tenant):
            del self._expiries[evicted.tenant, evicted.artifact.name]
        return artifact, data_chunks if inline else ()

    def _find(self, tenant: str, name: str) -> StoredArtifact:
        check_name(ARTIFACTS, name)
        self._remove_expired()
        # The tenant is a part of the key, so another tenant's name takes the same time as a name that does not exist.
        stored = self._artifacts.get((tenant, name))
        if stored is None:
            raise NotFoundError(
                f"{name} does not exist: it expired, was removed or never existed; upload it again",
                Reason.ARTIFACT_NOT_FOUND,
                {"name": name},
            )
        return stored

    def _delete(self, tenant: str, name: str) -> None:
        check_name(ARTIFACTS, name)
        self._remove((tenant, name))

    def _remove(self, key: _Key) -> None:
        self._artifacts.pop(key)
        self._expiries.pop(key, None)

    def _remove_expired(self) -> None:
        # All artifacts are kept for the same time, so they expire in order of arrival.
        while self._expiries:
            key, expiry = next(iter(self._expiries.items()))
            if expiry > time.time():
                return
            self._remove(key)


def _no_check() -> None:
    """Permit all media."""


@dataclass(frozen=True, slots=True)
class TenantArtifacts:
    """The artifacts of one tenant. The name of another tenant's artifact is like a name that does not exist."""

    store: ArtifactStore
    tenant: str

    @property
    def size_bytes(self) -> int:
        """The total size of the tenant's artifacts, in bytes."""
        return self.store._size_of(self.tenant)

    async def keep(
        self, modality: str, media: Media, check: Callable[[], None] = _no_check
    ) -> tuple[Artifact, tuple[bytes, ...]]:
        """Store media. Return the artifact, and its bytes in chunks unless they are larger than `MAX_INLINE_BYTES`.

        Raises `RequestError` for media larger than the whole store, and the error of `check`, which is called right
        before the media are stored.
        """
        return await self.store._keep(self.tenant, modality, media, check)

    def find(self, name: str) -> StoredArtifact:
        """Return an artifact and its bytes. Raises `NotFoundError` if it does not exist or has expired.

        Raises `RequestError` for a text that is no artifact's name.
        """
        return self.store._find(self.tenant, name)

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
        self.store._delete(self.tenant, name)


def _prepared(media: Media) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the digest of media, and their bytes in chunks."""
    return media.sha256, tuple(chunks(media.data))
