"""A cache of embeddings around an encoder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from hashlib import sha256

from motet.caching.lru import LruCache
from motet.caching.shared_streams import SharedStreams
from motet.core.closing import closing
from motet.core.concurrent.encode_each import encode_each
from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.telemetry.families import encoder_metrics
from motet.core.telemetry.prometheus import labelled
from motet.core.tensors import Tensor
from motet.core.workers import Encoder

EmbeddingCache = LruCache[bytes, Tensor]


class CachingEncoder:
    """An `Encoder` that encodes equal media of one tenant once.

    An embedding depends only on the media's bytes. Still, tenants share none: the time of a call must not tell a tenant
    that another one sent the same media.

    `version` must change if the encoder returns different embeddings for the same bytes. Encoders of several versions
    may share one `cache`. Concurrent calls of equal tenant, media and priority share one encoding. The encoding stops
    when all of these calls are cancelled. Tenants share the cache as the owners of an `LruCache`.
    """

    def __init__(self, encoder: Encoder, version: str, cache: EmbeddingCache) -> None:
        self._encoder = encoder
        self._version = version
        self._cache = cache
        self._streams: SharedStreams[Tensor] = SharedStreams()

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """Implement `Encoder.encode`. An error names the index in the caller's own media."""
        return await encode_each(media, partial(self._embedding, tenant=tenant, priority=priority), deadline)

    async def _embedding(self, item: Media, tenant: str, priority: int) -> Tensor:
        key = await asyncio.to_thread(self._key, item, tenant)
        cached = self._cache.get(key)
        # A call never waits for an encoding of lower priority.
        stream = key, priority
        outcome = "hit" if cached is not None else "joined" if stream in self._streams else "miss"
        labelled(encoder_metrics.EMBEDDING_CACHE, outcome).inc()
        if cached is not None:
            return cached
        # `encode_each` cancels this coroutine at the caller's deadline.
        start = partial(self._encode, key, item, tenant, priority)
        async with closing(self._streams.join(stream, start, Deadline.never())) as embeddings:
            return await anext(embeddings)

    async def _encode(
        self, key: bytes, item: Media, tenant: str, priority: int, deadline: Deadline
    ) -> AsyncIterator[Tensor]:
        # The deadline is never: each caller stops at its own deadline, and the last caller cancels the encoding.
        [embedding] = await self._encoder.encode([item], deadline, tenant=tenant, priority=priority)
        self._cache.put(key, embedding, len(embedding.data), tenant)
        yield embedding

    def _key(self, item: Media, tenant: str) -> bytes:
        # The key includes the declared type: an encoder may refuse the same bytes under another type.
        return sha256(repr((self._version, item.media_type, tenant)).encode() + item.sha256).digest()
