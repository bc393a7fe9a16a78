"""An LRU cache with limits in bytes and entries."""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


_VALUE_BYTES, _MIN_ENTRIES = 4096, 1024


def max_entries_of(limit: int) -> int:
    """Return the maximum number of values in a cache of `limit` bytes.

    Each value takes about 1 KB more than its own bytes, so very small values would exceed the limit many times.
    """
    return max(_MIN_ENTRIES, limit // _VALUE_BYTES)


class LruCache(Generic[Key, Value]):
    """A cache of at most `limit` bytes and `max_entries` entries. It evicts the least recently used values first."""

    def __init__(self, limit: int, max_entries: float = inf) -> None:
        self._limit = limit
        self._max_entries = max_entries
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        """Key -> value and its size in bytes, the least recently used entry first."""
        self._size = 0

    @property
    def size(self) -> int:
        """The total size of the cached values, in bytes."""
        return self._size

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """Return the value of a key, or None on a cache miss."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: Key, value: Value, size: int) -> list[Value]:
        """Cache a value of `size` bytes and replace the key's old value. Return the evicted values.

        A value larger than the limit is not cached, and counts as evicted.
        """
        if key in self._entries:
            self.pop(key)
        if size > self._limit:
            return [value]
        self._entries[key] = (value, size)
        self._size += size
        evicted = []
        while self._size > self._limit or len(self._entries) > self._max_entries:
            _, (oldest, freed) = self._entries.popitem(last=False)
            self._size -= freed
            evicted.append(oldest)
        return evicted

    def pop(self, key: Key) -> Value | None:
        """Remove a key and return its value, or return None on a cache miss."""
        value, size = self._entries.pop(key, (None, 0))
        self._size -= size
        return value
