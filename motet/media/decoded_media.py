"""Decoded media on their way from the probe to the encoder of the same process."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from motet.caching.lru import LruCache
from motet.core.media import MEBI
from motet.core.preprocessing import Preprocessing
from motet.media.confined import Elements, Facts
from motet.media.limits import MediaLimits

MAX_BYTES = 256 * MEBI
"""Maximum bytes of decoded media per event loop. The largest clip that `DEFAULT_LIMITS` allows has 183 MiB."""

LIFETIME = 60.0
"""Maximum time between a probe and the use of its decoded media, in seconds. An encoder may load in this time."""

Key = tuple[bytes, MediaLimits, Preprocessing, str]
"""The SHA-256 digest of the encoded bytes, the limits and the preprocessing of the decoding, and the tenant."""

Decoded = tuple[Facts, Elements]


class DecodedMedia:
    """A cache of decoded media, shared by tenants as the owners of an `LruCache`.

    Each entry can be used once, because an encoder caches embeddings itself.
    """

    def __init__(self) -> None:
        self._cache: LruCache[Key, Decoded] = LruCache(MAX_BYTES)

    @staticmethod
    def of_this_loop() -> DecodedMedia:
        """Return the cache of the running event loop."""
        return _of_loops.setdefault(asyncio.get_running_loop(), DecodedMedia())

    def put(self, key: Key, decoded: Decoded) -> None:
        """Keep decoded media for at most `LIFETIME` seconds."""
        self._cache.put(key, decoded, len(decoded[1]), owner=key[-1])
        asyncio.get_running_loop().call_later(LIFETIME, self._cache.pop, key)

    def take(self, key: Key) -> Decoded | None:
        """Remove and return decoded media, or return None on a cache miss."""
        return self._cache.pop(key)


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, DecodedMedia] = WeakKeyDictionary()
