"""An LRU cache with a limit in bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class LruCache(Generic[Key, Value]):
    """A cache of at most `limit` bytes. It evicts the least recently used values first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        """Key -> value and its size in bytes, the least recently used entry first."""
        self._size = 0

    @property
    def size(self) -> int:
        """The total size of the cached values, in bytes."""
        return self._size

    def get(self, key: Key) -> Value | None:
        """Return the value of a key, or None on a cache miss."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: Key, value: Value, size: int) -> None:
        """Cache a value of `size` bytes and replace the key's old value. Drop a value larger than the limit."""
        self.pop(key)
        if size > self._limit:
            return
        self._entries[key] = (value, size)
        self._size += size
        while self._size > self._limit:
            _, (_, evicted) = self._entries.popitem(last=False)
            self._size -= evicted

    def pop(self, key: Key) -> Value | None:
        """Remove a key and return its value, or return None on a cache miss."""
        value, size = self._entries.pop(key, (None, 0))
        self._size -= size
        return value
