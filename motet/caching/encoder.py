"""Embeddings of media, each made once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from hashlib import sha256

from motet.caching.lru import LruCache
from motet.caching.shared_streams import SharedStreams
from motet.core import metrics
from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.encode_each import encode_each
from motet.core.media import Media
from motet.core.metrics import labelled
from motet.core.tensors import Tensor
from motet.core.workers import Encoder

EmbeddingCache = LruCache[bytes, Tensor]


class CachingEncoder:
    """An `Encoder` that embeds equal media once, whoever sends them: an embedding follows from the bytes alone.

    `version` changes whenever the encoder would make something else of the same bytes; `memory` may be shared by
    encoders of several versions. What several wait for, equally urgently, goes on while one of them does.
    """

    def __init__(self, encoder: Encoder, version: str, memory: EmbeddingCache) -> None:
        self._encoder = encoder
        self._version = version
        self._memory = memory
        self._flights: SharedStreams[Tensor] = SharedStreams()

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """As the encoder does. Each caller waits until its own deadline, and hears of its own index."""
        return await encode_each(media, partial(self._embedding, tenant=tenant, priority=priority), deadline)

    async def _embedding(self, item: Media, tenant: str, priority: int) -> Tensor:
        key = await asyncio.to_thread(self._key, item)
        kept = self._memory.get(key)
        # Whoever is in more of a hurry does not wait with those who are in less.
        flight = key, priority
        outcome = "kept" if kept is not None else "joined" if flight in self._flights else "computed"
        labelled(metrics.EMBEDDING_CACHE, outcome).inc()
        if kept is not None:
            return kept
        # Whoever asks leaves at its own deadline, by being cancelled.
        begin = partial(self._embedded, key, item, tenant, priority)
        async with closing(self._flights.join(flight, begin, Deadline.never())) as found:
            return await anext(found)

    async def _embedded(
        self, key: bytes, item: Media, tenant: str, priority: int, deadline: Deadline
    ) -> AsyncIterator[Tensor]:
        # Those who wait leave at their deadlines, and the last to leave stops this: its own is never.
        [embedding] = await self._encoder.encode([item], deadline, tenant=tenant, priority=priority)
        self._memory.keep(key, embedding, len(embedding.data))
        yield embedding

    def _key(self, item: Media) -> bytes:
        # What they were declared as decides whether they are read at all.
        return sha256(repr((self._version, item.media_type)).encode() + item.sha256).digest()
