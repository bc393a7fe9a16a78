"""An LRU cache with limits in bytes and entries, shared fairly by the owners of its values."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import Generic, TypeVar

from motet.core.clock import now

Key = TypeVar("Key")
Value = TypeVar("Value")


_VALUE_BYTES, _MIN_ENTRIES = 4096, 1024

IDLE_AFTER = 600.0
"""Seconds without a use after which the values of an owner in a cache without expiry are evicted before others."""


def max_entries_of(limit: int) -> int:
    """Return the maximum number of values in a cache of `limit` bytes.

    Each value takes about 1 KB more than its own bytes, so very small values would exceed the limit many times.
    """
    return max(_MIN_ENTRIES, limit // _VALUE_BYTES)


@dataclass(slots=True)
class _Owner(Generic[Key]):
    """The values of one owner. `size` is their total size in bytes, and `used` the time of the latest use."""

    name: str
    used: float
    keys: OrderedDict[Key, None] = field(default_factory=OrderedDict)
    """The least recently used key first."""
    size: int = 0
    recorded: float = -1.0
    """The share in the heap, which is at least the present share, or -1."""


class LruCache(Generic[Key, Value]):
    """A cache of at most `limit` bytes and `max_entries` entries.

    Each value has an owner, by default "". The share of an owner is the larger one of its part of the bytes and its
    part of the entries. If there is too little room for a new value, the cache evicts the least recently used value of
    an owner that was not used for `idle_after` seconds, if there is one, or else of the owner with the largest share.
    The new value itself is not evicted. So with one owner, this is a plain LRU cache, and an owner may fill the cache.

    A bound for `n` owners and values of at most `s` of the limit: an owner that is not idle, and whose share is at most
    `(1 - s) / n`, loses no value, whatever the others put. Each operation takes amortised O(log n).
    """

    def __init__(self, limit: int, max_entries: float = inf, idle_after: float = inf) -> None:
        self._limit = limit
        self._max_entries = max_entries
        self._idle_after = idle_after
        self._entries: dict[Key, tuple[Value, int, _Owner[Key]]] = {}
        """Key -> value, its size in bytes, and its owner."""
        self._owners: OrderedDict[str, _Owner[Key]] = OrderedDict()
        """The owners that have values, the least recently used one first."""
        self._largest: list[tuple[float, str]] = []
        """A heap of negative shares and owners. An entry is valid if it has the recorded share of its owner."""
        self._size = 0

    @property
    def size(self) -> int:
        """The total size of the cached values, in bytes."""
        return self._size

    def __len__(self) -> int:
        return len(self._entries)

    def size_of(self, owner: str) -> int:
        """Return the total size of an owner's values, in bytes."""
        return self._owners[owner].size if owner in self._owners else 0

    def get(self, key: Key) -> Value | None:
        """Return the value of a key, or None on a cache miss."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, _, owner = entry
        owner.keys.move_to_end(key)
        self._use(owner)
        return value

    def put(self, key: Key, value: Value, size: int, owner: str = "") -> list[Value]:
        """Cache a value of `size` bytes and replace the key's old value. Return the evicted values.

        A value larger than the limit is not cached, and counts as evicted.
        """
        self.pop(key)
        if size > self._limit:
            return [value]
        found = self._owners.get(owner)
        if found is None:
            found = self._owners[owner] = _Owner(owner, 0.0)
        self._entries[key] = value, size, found
        found.keys[key] = None
        found.size += size
        self._size += size
        self._use(found)
        if self._share(found) > found.recorded:
            self._record(found)
            self._compact()
        evicted = []
        while self._size > self._limit or len(self._entries) > self._max_entries:
            evicted.append(self._evict(key))
        return evicted

    def pop(self, key: Key) -> Value | None:
        """Remove a key and return its value, or return None on a cache miss."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        value, size, owner = entry
        self._size -= size
        owner.size -= size
        del owner.keys[key]
        if not owner.keys:
            del self._owners[owner.name]
        return value

    def _compact(self) -> None:
        """Remove entries of the heap that are out of date, if most of them are."""
        if len(self._largest) > 2 * len(self._owners) + _MIN_ENTRIES:
            self._largest.clear()
            for owner in self._owners.values():
                self._record(owner)

    def _use(self, owner: _Owner[Key]) -> None:
        if self._idle_after != inf:
            owner.used = now()
            self._owners.move_to_end(owner.name)

    def _evict(self, new: Key) -> Value:
        """Remove a value and return it, but not the new one."""
        key = next(iter(self._victim(new).keys))
        value = self.pop(key)
        assert value is not None
        return value

    def _victim(self, new: Key) -> _Owner[Key]:
        """Return the owner that loses its least recently used value."""
        oldest = next(iter(self._owners.values()))
        if now() - oldest.used > self._idle_after:
            return oldest
        owner = self._find_largest()
        if next(iter(owner.keys)) != new:
            return owner
        # The owner has only the new value. No entry of the heap has this share.
        owner.recorded = -1.0
        largest_other = self._find_largest()
        self._record(owner)
        return largest_other

    def _find_largest(self) -> _Owner[Key]:
        """Return the owner with the largest share, which then is at the top of the heap."""
        while True:
            share, name = self._largest[0]
            owner = self._owners.get(name)
            if owner is None or -share != owner.recorded:
                heappop(self._largest)
            elif owner.recorded == self._share(owner):
                return owner
            else:
                heappop(self._largest)
                self._record(owner)

    def _share(self, owner: _Owner[Key]) -> float:
        return max(owner.size / self._limit if self._limit else 0.0, len(owner.keys) / self._max_entries)

    def _record(self, owner: _Owner[Key]) -> None:
        """Write the share of an owner to the heap."""
        owner.recorded = self._share(owner)
        heappush(self._largest, (-owner.recorded, owner.name))
